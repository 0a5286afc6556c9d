"""What pyproject.toml cannot say: wheels with the compiled kernels inside.

`pip install .` compiles nothing: the package is plain Python with C sources inside, which are
compiled when they are first used. With GLOWKIT_WHEEL=1 in the environment, the kernels of every
instruction set of this machine's kind are compiled into the wheel, which then is for this platform
and, because they are called through ctypes, for every Python 3.
"""

import importlib.util
import os
import platform
from pathlib import Path

from setuptools import Distribution, setup
from setuptools.command.bdist_wheel import bdist_wheel
from setuptools.command.build_py import build_py

KERNELS = Path("src/glowkit/nets/kernels")


def compile_into(folder: Path) -> None:
    """Compile the kernels; an error where there is no compiler, or no kernel for this machine."""
    # Read by its path: glowkit itself needs torch, which is not there when packages are built.
    spec = importlib.util.spec_from_file_location("compiling", KERNELS / "compiling.py")
    compiling = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(compiling)
    kinds = compiling.instructions_of(platform.machine())
    if not kinds:
        raise SystemExit(f"GLOWKIT_WHEEL: there are no kernels for {platform.machine()}")
    compiler = compiling.find_compiler()
    for instructions in kinds:
        target = folder / compiling.library_name(instructions)
        compiling.compile_library(compiler, instructions, target)
        print(f"{target}: {instructions}, by {compiler.version}")


class BuildWithKernels(build_py):
    def run(self) -> None:
        super().run()
        if not self.editable_mode:  # sources that are edited are compiled when they are used
            compile_into(Path(self.build_lib) / KERNELS.relative_to("src"))


class PlatformWheel(bdist_wheel):
    def get_tag(self) -> tuple[str, str, str]:
        return "py3", "none", super().get_tag()[2]


class PlatformDistribution(Distribution):
    def has_ext_modules(self) -> bool:
        return True


if os.environ.get("GLOWKIT_WHEEL") == "1":
    setup(
        cmdclass={"build_py": BuildWithKernels, "bdist_wheel": PlatformWheel},
        distclass=PlatformDistribution,
    )
else:
    setup()

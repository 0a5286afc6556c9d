"""Every instruction set that this machine can run, by every compiler, computes the same."""

import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from glowkit.nets.kernels import compiling, library

CAPABILITIES = {"AVX-512": "avx512", "AVX2": "avx2", "SSE2": "default", "NEON": "default"}
"""What torch calls them; it obeys, and the kernels follow it."""

RUN = """
import sys
import torch
from kernel_cases import chosen_cases, errors, outcome, plain, random_case
from glowkit.nets.kernels import library

assert library.loaded() is not None, str(library.state())
wrong = {}
for seed in range(150):
    torch.set_num_threads(1 + seed % 3)
    case = random_case(seed)
    wrong[seed] = errors(case, outcome(case), plain(case))
for name, case in chosen_cases().items():
    wrong[name] = errors(case, outcome(case), plain(case))
print(library.state().instructions, {name: off for name, off in wrong.items() if off})
"""


def can_run() -> list[str]:
    sets = compiling.instructions_of(platform.machine())
    try:
        return list(sets[sets.index(library.chosen()) :])
    except compiling.NoKernels:
        return []


@pytest.mark.slow
@pytest.mark.parametrize("compiler", ["gcc", "clang"])
@pytest.mark.parametrize("instructions", CAPABILITIES)
def test_random_calls(instructions: str, compiler: str, tmp_path: Path) -> None:
    if instructions not in can_run():
        pytest.skip(f"this machine does not run {instructions}")
    if shutil.which(compiler) is None:
        pytest.skip(f"there is no {compiler}")
    given = {
        "ATEN_CPU_CAPABILITY": CAPABILITIES[instructions],
        "CC": compiler,
        "GLOWKIT_CACHE": str(tmp_path),
        "PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), *sys.path]),
    }
    environment = {k: v for k, v in os.environ.items() if k != library.SWITCH} | given
    done = subprocess.run(
        [sys.executable, "-c", RUN], env=environment, capture_output=True, text=True, check=False
    )
    assert (done.stdout.strip(), done.returncode) == (f"{instructions} {{}}", 0), done.stderr
    assert list((tmp_path / "kernels").glob("*.so")), "another library ran"

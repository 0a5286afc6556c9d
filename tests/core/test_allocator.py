"""Tensors that are freed and made again do not go through the system each time."""

import subprocess
import sys

import pytest

CODE = """
import resource
import torch
import glowkit
{setting}

def faults(turns):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(turns):
        torch.zeros(2**24)  # 64 MiB: more than the C library keeps by itself
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

faults(20)
print("FAULTS", faults(20))
"""


def faults(setting: str) -> int:
    """Pages that the system had to clear while a tensor was made twenty times."""
    code = CODE.format(setting=setting)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return int(done.stdout.split("FAULTS")[1])


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="asks the GNU C library")
def test_freed_memory_is_used_again() -> None:
    before = faults("")
    if before < 20 * 1000:
        pytest.skip("the C library here keeps large pieces by itself")
    assert faults("glowkit.keep_freed_memory()") < before / 2

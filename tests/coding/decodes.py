"""Run as a script, in whatever surroundings: do the committed files decode, and come out again?

NAME.glwk is of the version that is written now, and NAME-1.glwk of the first, which is read only.
"""

from pathlib import Path
from unittest.mock import patch

import torch

import glowkit
from coding.models import digits
from glowkit.tasks.coding.encoder import Encoder

HERE = Path(__file__).parent
FILES = {
    "digits": (HERE.parents[1] / "examples" / "digits" / "model", 40),
    "curves": (HERE / "files" / "curves", 24),
}
"""Of each file its model and how many digits: an affine Glow, and one with mixtures, classes and
variational dequantization."""

VERSIONS = ("-1", "")


def made(name: str) -> bytes:
    """A file as it was committed: the model takes over as soon as it can, however short it is."""
    folder, count = FILES[name]
    model, (images, labels) = glowkit.load(folder), digits(count)
    with patch.object(Encoder, "model_is_shorter", return_value=True):
        return glowkit.compress(model, images, labels if model.classes else None, verify=False)


if __name__ == "__main__":
    for name, (folder, count) in FILES.items():
        model, (images, labels) = glowkit.load(folder), digits(count)
        files = [(HERE / "files" / f"{name}{version}.glwk").read_bytes() for version in VERSIONS]
        for data in files:
            again, context = glowkit.decompress(model, data)
            assert torch.equal(again, images), name
            assert context is None or torch.equal(context, labels), name
        assert made(name) == files[-1], name
    model = glowkit.load(FILES["digits"][0])
    data = (HERE / "files" / "digits.glwl").read_bytes()
    again, _ = glowkit.lossy.decompress(model, data)  # which the file has a checksum of
    assert glowkit.lossy.compress(model, digits(40)[0], 0.05) == data, "with loss"
    print("the same", torch.get_num_threads(), torch.backends.cpu.get_cpu_capability())

"""Small models of digits and of colour images, with pictures to begin with."""

import hashlib
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from glowkit import GlowConfig, build, initialize, save
from glowkit.app.exhibit import Exhibit
from glowkit.cli.attributes import FILE
from glowkit.tasks import Attributes, bits_per_dim, save_attributes

CONFIGS = {
    "digits": GlowConfig((1, 8, 8), levels=2, steps=2, width=8, pixel_levels=17),
    "colour": GlowConfig((3, 8, 8), levels=2, steps=2, width=8),
    "classes": GlowConfig((1, 8, 8), levels=2, steps=2, width=8, pixel_levels=17, classes=3),
}


def exhibit_of(config: GlowConfig) -> Exhibit:
    torch.manual_seed(0)
    shape = (20, *config.image_shape)
    images = torch.randint(0, config.pixel_levels, shape, dtype=torch.uint8)
    contexts = torch.arange(20) % config.classes if config.classes else None
    model = build(config)
    initialize(model, images, contexts)
    with torch.no_grad():
        bits = bits_per_dim(model, images, contexts)
    names = ("zero", "one", "two")[: config.classes]
    sizes = (2, images[0].numel())
    attributes = Attributes(
        ("left", "right"),
        torch.randn(sizes),
        (10, 10),
        (10, 10),
        (0.9, 0.5),
        torch.zeros(101),
        "mean",
    )
    return Exhibit(
        model,
        "a model",
        names,
        images,
        contexts,
        "noise",
        bits,
        "20 images of noise",
        attributes,
        "runs/noise",
    )


@pytest.fixture(scope="session", params=list(CONFIGS))
def exhibit(request: pytest.FixtureRequest) -> Exhibit:
    return exhibit_of(CONFIGS[request.param])


@pytest.fixture(scope="session")
def digits() -> Exhibit:
    return exhibit_of(CONFIGS["digits"])


@pytest.fixture(scope="session")
def model(digits: Exhibit, tmp_path_factory: pytest.TempPathFactory) -> Path:
    model = save(digits.model, tmp_path_factory.mktemp("app") / "model")
    weights = hashlib.sha256((model / "model.safetensors").read_bytes()).hexdigest()
    assert digits.attributes
    save_attributes(digits.attributes, model / FILE, weights)
    return model


@pytest.fixture(scope="session")
def address(model: Path) -> Iterator[str]:
    """Where `glowkit app` serves the digits, in a process of its own."""
    pytest.importorskip("gradio", reason="the page needs Gradio: pip install 'glowkit[app]'")
    with served(model, model.with_name("log")) as found:
        yield found


class served:
    """`glowkit app MODEL` in a process of its own, as a context manager that gives the address."""

    def __init__(self, model: Path, log: Path) -> None:
        self.model, self.log = model, log

    def __enter__(self) -> str:
        command = [sys.executable, "-m", "glowkit", "app", str(self.model)]
        with self.log.open("w") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log)
        for _ in range(600):
            said = self.log.read_text()
            if " is shown at " in said:
                return said.partition(" is shown at ")[2].split()[0].rstrip("/")
            assert self.process.poll() is None, said
            time.sleep(0.5)
        raise AssertionError(f"no page after five minutes: {said}")

    def __exit__(self, *_: object) -> None:
        self.process.terminate()
        assert self.process.wait(60) == 130

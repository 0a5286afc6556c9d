"""Every test has its own cache; pictures are made where they are needed."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

Save = Callable[..., Path]


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The empty cache folder of this test."""
    folder = tmp_path / "cache"
    monkeypatch.setenv("GLOWKIT_CACHE", str(folder))
    return folder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where the test puts its images."""
    path = tmp_path / "images"
    path.mkdir()
    return path


@pytest.fixture
def save(folder: Path) -> Save:
    """save("a/b.png", mode="RGB", size=(8, 6)): write a random picture below `folder`."""

    def write(name: str, mode: str = "RGB", size: tuple[int, int] = (8, 8), **how: Any) -> Path:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        random = np.random.default_rng(sum(name.encode()))
        if mode == "I;16":
            deep = random.integers(0, 65536, size[::-1]).astype(np.uint16)
            image = Image.fromarray(deep)
        else:
            image = Image.fromarray(random.integers(0, 256, (*size[::-1], 3)).astype(np.uint8))
            image = image.convert(mode)
        image.save(path, **how)
        return path

    return write

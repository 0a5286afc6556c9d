"""Small trained runs, made once, and the command line as a function."""

import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from torch import Tensor

from glowkit import GlowConfig, build, save
from glowkit.cli import main
from glowkit.training import of_images

SMALL = ["--set", "steps=1", "--set", "width=8", "--epochs", "1"]


@dataclass(frozen=True)
class Outcome:
    """What a command did: its exit code and what it printed."""

    code: int
    out: str
    err: str


Cli = Callable[..., Outcome]


@pytest.fixture(scope="package", autouse=True)
def fitted_once() -> Iterator[None]:
    """Gaussians are fitted once to the same images: half of what most commands would cost here."""
    fit, known = of_images.gaussian_baselines, {}

    def remembered(train: Tensor, others: Tensor, *settings: int) -> dict[str, float]:
        given = (train.numpy().tobytes(), others.numpy().tobytes(), *settings)
        if given not in known:
            known[given] = fit(train, others, *settings)
        return dict(known[given])

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(of_images, "gaussian_baselines", remembered)
        yield


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Cli:
    monkeypatch.delenv("COLUMNS", raising=False)  # lines as a pipe gets them: unbroken

    def run(*arguments: object) -> Outcome:
        capsys.readouterr()
        with pytest.raises(SystemExit) as stopped:
            main([str(argument) for argument in arguments])
        printed = capsys.readouterr()
        return Outcome(int(stopped.value.code or 0), printed.out, printed.err)

    return run


def trained(folder: Path, *arguments: str) -> Path:
    with pytest.raises(SystemExit) as stopped:
        main(["train", "digits", *SMALL, "--out", str(folder), *arguments])
    assert not stopped.value.code
    return folder


@pytest.fixture(scope="session")
def master(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return trained(tmp_path_factory.mktemp("runs") / "digits")


@pytest.fixture(scope="session")
def conditional(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return trained(tmp_path_factory.mktemp("runs") / "conditional", "--conditional")


@pytest.fixture(scope="session")
def flat(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of the same images with other noises."""
    config = GlowConfig((1, 8, 8), levels=1, steps=1, width=8, pixel_levels=17)
    return save(build(config), tmp_path_factory.mktemp("flat") / "model")


@pytest.fixture
def run(master: Path, tmp_path: Path) -> Path:
    """A trained run that the test may damage."""
    return Path(shutil.copytree(master, tmp_path / "run"))


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the inputs, good and bad, that the tests name."""
    monkeypatch.setenv("GLOWKIT_CACHE", str(tmp_path / "cache"))
    generator = np.random.default_rng(0)

    def pixels(*shape: int) -> np.ndarray:
        return generator.integers(0, 256, shape, dtype=np.uint8)

    root = tmp_path / "files"
    for name in ("empty", "one", "sizes", "corrupt", "good"):
        (root / name).mkdir(parents=True)
    Image.fromarray(pixels(8, 8)).save(root / "one" / "a.png")
    for i in range(12):
        Image.fromarray(pixels(8, 8, 3)).save(root / "good" / f"{i}.png")
        Image.fromarray(pixels(8, 8 + 4 * (i == 5), 3)).save(root / "sizes" / f"{i}.png")
        Image.fromarray(pixels(8, 8, 3)).save(root / "corrupt" / f"{i}.png")
    whole = (root / "corrupt" / "7.png").read_bytes()
    (root / "corrupt" / "7.png").write_bytes(whole[: len(whole) // 2])
    np.save(root / "side.npy", pixels(20, 30, 30))
    np.save(root / "colour.npy", pixels(20, 8, 8, 3))
    np.save(root / "floats.npy", generator.normal(size=(20, 8, 8)).astype(np.float32))
    np.savez(root / "none.npz", labels=np.arange(20))
    np.savez(root / "wide.npz", noises=generator.normal(size=(3, 65)))
    np.savez(root / "nan.npz", noises=np.full((3, 64), np.nan))
    np.savez(root / "several.npz", a=pixels(20, 8, 8), b=pixels(20, 8, 8))
    (root / "f.py").write_text("def f(x):\n    return 1 / 0\n")
    return root

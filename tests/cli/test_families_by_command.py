"""Every command, on a model of each family, either works or says in a sentence why it cannot."""

from collections.abc import Mapping
from pathlib import Path

import pytest

from cli.conftest import Cli
from glowkit.cli import main

IMAGES: Mapping[str, tuple[str, ...]] = {
    "glow-tiny": ("steps=1", "width=8"),
    "ar-tiny": ("layers=1", "width=16", "inner=4"),
    "tarflow-tiny": ("blocks=1", "layers=1", "width=16"),
    "vflow-tiny": ("steps=1", "width=8", "augmentation_steps=1", "augmentation_width=8"),
    "flowpp-tiny": ("width=8", "couplings=[[0, 1], [1, 0]]"),
    "jet-tiny": ("couplings=2", "channel_couplings=1", "width=8"),
    "nice-tiny": ("width=16", "depth=1"),
    "residual-tiny": ("scales=2", "blocks=1", "width=8", "evaluation_terms=4"),
}
POINTS: Mapping[str, tuple[str, ...]] = {
    "glow-points": ("steps=1", "width=8"),
    "cif-points": ("steps=1", "width=8"),
    "residual-points": ("blocks=1", "width=8", "depth=1"),
    "ffjord-points": ("steps=2", "width=8", "depth=1"),
    "matching-points": ("steps=2", "width=8", "depth=1"),
}
COMMANDS: Mapping[str, tuple[str, ...]] = {
    "evaluate": (),
    "sample": ("--count", "2"),
    "reconstruct": ("--count", "2"),
    "interpolate": ("test:0-1",),
    "attributes": (),
    "edit": ("test:0", "--attribute", "3=1"),
    "scales": ("test:0",),
    "report": (),
    "compare": ("--count", "2"),
    "compress": ("test:0-2",),
    "lossy compress": ("test:0",),
    "anomalies": (),
}
REASONS = {
    "no learned prior": "needs a Split with a learned prior",
    "added channels": "adds channels of noise",
    "no mean of latents": "no mean and deviation of its latents",
    "no semantic latent": "not a semantic latent",
    "no exact form": "no exact form",
    "no latents": "has no latents, whose rounding is the loss",
    "of images": "this command is for images",
}
"""In a sentence of a refusal, by what the table says in short."""

TABLE = Path(__file__).parents[2] / "docs" / "families.md"


def said() -> dict[tuple[str, str], str]:
    """What the table of the page says of each preset and command."""
    lines = TABLE.read_text().partition("## Which commands take them")[2].splitlines()
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if "|" in line]
    head, _, *body = rows
    return {
        (preset, command): cell
        for presets, *cells in body
        for named, cell in zip(head[1:], cells, strict=True)
        for preset in presets.split(", ")
        for command in named.split(", ")
    }


def test_the_table_is_of_all() -> None:
    assert set(said()) == {(preset, name) for preset in IMAGES | POINTS for name in COMMANDS}


@pytest.fixture(scope="module", params=[*IMAGES, *POINTS])
def family(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    preset = request.param
    run = tmp_path_factory.mktemp("families") / preset
    small = [word for one in (IMAGES | POINTS)[preset] for word in ("--set", one)]
    data, epochs = ("digits", 0.2) if preset in IMAGES else ("points:moons", 0.05)
    with pytest.raises(SystemExit) as stopped:
        main(
            ["train", data, "--preset", preset, *small, "--epochs", str(epochs), "--out", str(run)]
        )
    assert not stopped.value.code
    return run


@pytest.mark.slow
@pytest.mark.parametrize("command", COMMANDS)
def test_it_works_or_says_why_not(
    cli: Cli, family: Path, command: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(family.parent)
    outcome = cli(*command.split(), family, *COMMANDS[command])
    expected = said()[family.name, command]
    assert outcome.code == (0 if expected == "yes" else 2), outcome.err
    if outcome.code:
        reason = REASONS[expected]
        assert reason in outcome.err.splitlines()[-1]

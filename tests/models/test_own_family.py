"""A family in a user's own file: registered, trained, saved and loaded, and what is refused."""

import importlib.util
import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from tiny_data import CONFIG, SHAPE, batches, images, points

import glowkit
from glowkit import GlowkitError
from glowkit.densities import StandardNormal
from glowkit.models import build, changed, families, from_settings, to_settings
from glowkit.models.families import family, family_of
from glowkit.models.own import import_file, of_file
from glowkit.tasks import evaluate
from glowkit.training import read_run, train

EXAMPLE = Path(__file__).parents[2] / "examples" / "own_family.py"


@pytest.fixture(autouse=True)
def forgotten(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """What a test registers and imports is gone after it."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield
    for kind, found in list(families._FAMILIES.items()):
        if found.defined_in:
            del families._FAMILIES[kind]
    for name in [name for name in sys.modules if name.startswith("own_")]:
        del sys.modules[name]


def example() -> ModuleType:
    """The example as `import own_family` finds it."""
    spec = importlib.util.spec_from_file_location("own_family", EXAMPLE)
    assert spec is not None
    assert spec.loader is not None
    sys.modules["own_family"] = module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_example_is_short() -> None:
    lines = [line for line in EXAMPLE.read_text().splitlines() if line.strip()]
    code = [line for line in lines if not line.startswith(("glowkit ", '"""', "A coupling"))]
    assert len(code) <= 45


def test_the_coupling_of_the_example_inverts_and_knows_its_derivative() -> None:
    transformer = example().SinhArcsinh()
    x, h = torch.randn(5, 3, dtype=torch.double), torch.randn(5, 6, dtype=torch.double)
    y, ladj = transformer(x, h)
    again, back = transformer.inverse(y, h)
    assert torch.allclose(again, x)
    assert torch.allclose(back, -ladj)
    jacobian = torch.func.vmap(torch.func.jacrev(lambda x, h: transformer(x[None], h[None])[0][0]))
    assert torch.allclose(jacobian(x, h).det().abs().log(), ladj)


def test_a_family_of_ones_own_is_trained_saved_and_loaded(tmp_path: Path) -> None:
    own = example()
    config = own.SinhConfig(SHAPE, pixel_levels=8, steps=2, width=8)
    result = train(images(), config, CONFIG, tmp_path / "run", quiet=True)
    assert 0 < result.best_figure < 4
    assert read_run(tmp_path / "run").model == config
    model = glowkit.load(tmp_path / "run")
    assert model.config == config
    found = evaluate(model, batches(images(), model))
    assert (found.images, found.levels, found.largest_pixel_error) == (21, 8, 0)
    again = glowkit.load(glowkit.save(model, tmp_path / "copy"))
    x = batches(images(), model)[0][0]
    before, after = (one.log_prob(x, None, glowkit.MIDPOINT) for one in (model, again))
    assert torch.equal(before, after)
    about = json.loads((tmp_path / "copy" / "config.json").read_text())
    assert about["family"] == "sinh"
    assert about["defined_in"] == f"{EXAMPLE.resolve()}:SinhConfig"
    longer = replace(CONFIG, epochs=3)
    assert train(images(), config, longer, tmp_path / "run", resume=True, quiet=True).step == 18


def test_loading_never_runs_the_file_that_a_model_names(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text(EXAMPLE.read_text())
    kind = of_file(str(file))
    model = build(kind.config(SHAPE, 8, 1, 8))
    glowkit.initialize(model, batches(images(), model)[0][0])
    folder = glowkit.save(model, tmp_path / "model")
    ran = tmp_path / "ran"
    file.write_text(f"open({str(ran)!r}, 'w')")
    code = f"import glowkit; glowkit.load({str(folder)!r})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    said = done.stderr.splitlines()[-1]
    assert "family 'sinh' is of a user's own file" in said
    assert "mine.py:SinhConfig, which is never run unasked: import it first" in said
    assert "--model FILE.py" in said
    assert not ran.exists()


def test_settings_go_to_a_file_and_back() -> None:
    @dataclass(frozen=True)
    class Own:
        widths: tuple[int, ...] = (4, 4)
        steps: int = 1

    family("settings", Own)(lambda config: StandardNormal((2,)))
    config = Own((8, 2), 3)
    stored = json.loads(json.dumps(to_settings(config)))
    assert stored["widths"] == [8, 2]
    assert from_settings(stored) == config
    assert changed(config, {"steps": 5}) == Own((8, 2), 5)
    with pytest.raises(GlowkitError, match="steps is 'x'; it must be a whole number"):
        changed(config, {"steps": "x"})
    with pytest.raises(GlowkitError, match="settings has no setting 'stepz'; it has widths, steps"):
        changed(config, {"stepz": 1})
    with pytest.raises(GlowkitError, match="do not make a settings"):
        changed(config, {"widths": {"a": []}})


@dataclass(frozen=True)
class Foreign:
    size: int = 2


def test_a_config_without_a_family() -> None:
    with pytest.raises(GlowkitError, match=r"a Foreign is not the config.*glowkit\.family"):
        build(Foreign())
    with pytest.raises(GlowkitError, match="a Foreign is not the config of a model"):
        train(images(), Foreign(), CONFIG, "nowhere", quiet=True)


def test_settings_that_no_file_can_hold(tmp_path: Path) -> None:
    @dataclass(frozen=True)
    class Odd:
        size: Any

    family("odd", Odd)(lambda config: StandardNormal((2,)))
    with pytest.raises(GlowkitError, match=r"settings of a Odd cannot be written .*int64.*tuples"):
        glowkit.save(build(Odd(np.int64(2))), tmp_path)


def test_a_class_can_be_the_builder_and_points_its_data(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text(
        "import dataclasses, glowkit\n"
        "from glowkit.densities import StandardNormal\n"
        "@dataclasses.dataclass(frozen=True)\n"
        "class Config:\n"
        "    size: int = 2\n"
        "@glowkit.family('normal', Config)\n"
        "class Normal(StandardNormal):\n"
        "    def __init__(self, config):\n"
        "        super().__init__((config.size,))\n"
        "        self.shift = __import__('torch').nn.Parameter(self.anchor + 1)\n"
        "    def encode(self, x, context=None, generator=None):\n"
        "        return super().encode(x - self.shift)\n"
        "    def decode(self, noises, context=None):\n"
        "        x, log_p = super().decode(noises)\n"
        "        return x + self.shift, log_p\n"
    )
    (found,) = import_file(file)
    assert found.defined_in == f"{file.resolve()}:Config"
    assert train(points(), found.config(), CONFIG, tmp_path / "run", quiet=True).best_figure < 20
    assert glowkit.load(tmp_path / "run").config == found.config()


def test_a_family_that_makes_something_else() -> None:
    family("else", Foreign)(lambda config: torch.zeros(3))  # type: ignore[arg-type,return-value]
    with pytest.raises(GlowkitError, match="'else' made a Tensor of its config, and not a Density"):
        build(Foreign())


def test_what_cannot_be_registered() -> None:
    @dataclass
    class Thawed:
        size: int = 2

    @dataclass(frozen=True)
    class Named:
        family: str = ""

    for name, config, words in (
        ("glow", Foreign, "there is a family 'glow' already; choose another name"),
        ("two words", Foreign, "cannot be called 'two words'"),
        ("thawed", Thawed, "frozen=True"),
        ("plain", int, "frozen=True"),
        ("value", Foreign(), "frozen=True"),
        ("named", Named, "a setting cannot be called 'family'"),
    ):
        with pytest.raises(GlowkitError, match=words):
            family(name, config)(lambda config: StandardNormal((2,)))  # type: ignore[arg-type]


def test_registering_again_replaces_and_another_file_may_not(tmp_path: Path) -> None:
    first, second = example(), example()
    assert family_of(second.SinhConfig(SHAPE)).config is second.SinhConfig
    with pytest.raises(GlowkitError, match="not the config of a model"):
        build(first.SinhConfig(SHAPE))
    other = tmp_path / "other.py"
    other.write_text(EXAMPLE.read_text())
    with pytest.raises(GlowkitError, match=r"other\.py does not run: there is a family 'sinh' alr"):
        import_file(other)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("x = 1\ny = x / 0\n", r"does not run: ZeroDivisionError: division by zero \(line 2\)"),
        ("def f(:\n", r"does not run: SyntaxError: .*\(line 1\)"),
        ("import sys\nsys.exit(3)\n", r"does not run: SystemExit: 3 \(line 2\)"),
        ("import nowhere_at_all\n", "does not run: ModuleNotFoundError"),
        ("x = 1\n", r"registers no family; put @glowkit\.family\(NAME, CONFIG\) before"),
    ],
)
def test_files_that_hold_no_family(tmp_path: Path, text: str, words: str) -> None:
    file = tmp_path / "mine.py"
    file.write_text(text)
    for _ in range(2):  # a file that failed is run again
        with pytest.raises(GlowkitError, match=words) as error:
            import_file(file)
        assert "\n" not in str(error.value)


def test_a_file_is_named_by_itself_or_with_its_config(tmp_path: Path) -> None:
    text = EXAMPLE.read_text()
    both = text + text[text.index("@dataclass") :].replace("Sinh", "Other").replace(
        '"sinh"', '"other"'
    ).replace("OtherArcsinh", "SinhArcsinh")
    file = tmp_path / "both.py"
    file.write_text(both)
    assert of_file(f"{file}:OtherConfig").name == "other"
    with pytest.raises(GlowkitError, match=r"several families; choose one of .*both\.py:SinhConf"):
        of_file(str(file))
    with pytest.raises(GlowkitError, match="no family whose config is NoConfig; choose one of"):
        of_file(f"{file}:NoConfig")
    for wrong in (tmp_path / "none.py", tmp_path, tmp_path / "notes.md"):
        with pytest.raises(GlowkitError, match=rf"{wrong.name} is no Python file; give FILE\.py"):
            of_file(str(wrong))

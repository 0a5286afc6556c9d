"""The terminal: defaults that --help says, what TAB offers, lines in little room."""

import inspect
import math
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import typer

from cli.conftest import Cli
from glowkit.cli import completion, train_options
from glowkit.cli.lossy_train import MINUTES, USUAL
from glowkit.cli.main import COMMANDS
from glowkit.cli.origin import changes
from glowkit.cli.plan import Request, defaults_of, plan
from glowkit.cli.speech import sparkline
from glowkit.cli.train import train
from glowkit.data.standard import STANDARD
from glowkit.data.toy import POINTS
from glowkit.models import PRESETS
from glowkit.tasks.lossy import LossySettings
from glowkit.training import RunSettings, TrainConfig, read_run


def test_help_says_the_defaults_that_there_are() -> None:
    plain = TrainConfig(epochs=1)
    points, tables = defaults_of("points:moons"), defaults_of("table:power")
    said = {}
    for name in inspect.signature(train).parameters:
        option = getattr(train_options, name.upper(), None)
        if option is not None and isinstance(option.show_default, str):
            said[name] = option.show_default
    for name in ("batch_size", "learning_rate", "weight_decay", "clip_norm"):
        expected = [f"{getattr(plain, name):g}"]
        for kind, usual in (("points", points), ("tables", tables)):
            if name in usual.training:
                expected.append(f"{kind} {usual.training[name]:g}")
        assert said[name] == f"{expected[0]}; {', '.join(expected[1:])}"
    for name in ("optimizer", "warmup_steps", "beta2", "ema_decay", "perturb", "noise"):
        value = getattr(plain, name)
        assert said[name] == (value if isinstance(value, str) else f"{value:g}")
    assert said["minutes"] == f"{defaults_of('digits').minutes:g}; points and tables 2"
    assert points.minutes == tables.minutes == 2
    presets = (defaults_of("digits").preset, points.preset, tables.preset)
    assert said["preset"] == "{}; points {}, tables {}".format(*presets)


def test_help_of_training_is_in_groups_and_names_no_default_of_none(cli: Cli) -> None:
    out = cli("train", "--help").out
    places = [out.index(f" {panel} ─") for panel in ("Model", "Data", "Optimiser", "Output")]
    assert min(places) > 0
    assert "default: None" not in out


def test_every_run_and_data_of_a_command_completes() -> None:
    for command in COMMANDS:
        for name, parameter in inspect.signature(command).parameters.items():
            info: Any = parameter.annotation.__metadata__[0]
            if name == "run":
                assert info.autocompletion is completion.runs, command
            if info.metavar == "DATA" and isinstance(info, typer.models.ArgumentInfo):
                assert info.autocompletion is completion.data, command


def test_completion_knows_every_name() -> None:
    assert completion.presets("") == list(PRESETS)
    assert tuple(POINTS) == completion.POINTS
    assert tuple(name.lower() for name in STANDARD) == completion.TABLES
    assert completion.data("points:m") == ["points:moons"]
    assert completion.data("dig") == ["digits"]


def test_completion_of_runs_and_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert completion.runs("") == []
    (tmp_path / "runs" / "one").mkdir(parents=True)
    (tmp_path / "runs" / "one" / "config.yaml").touch()
    (tmp_path / "runs" / "other").mkdir()
    (tmp_path / "runs" / "photo.png").touch()
    assert completion.runs("") == ["runs/one"]
    assert completion.runs("ru") == ["runs/"]
    assert completion.runs("runs/o") == ["runs/one", "runs/other/"]
    assert completion.runs("./runs/on") == ["./runs/one"]
    assert completion.runs("nowhere/") == []
    assert completion.data("runs/p") == ["runs/photo.png"]


def test_completion_of_attributes(tmp_path: Path) -> None:
    context: Any = type("Context", (), {"params": {"run": tmp_path}})
    assert completion.attributes(context, "") == []
    head = b'{"__metadata__": {"glowkit": "{\\"names\\": [\\"woman\\", \\"dark-skin\\"]}"}}'
    path = tmp_path / "attributes.safetensors"
    path.write_bytes(len(head).to_bytes(8, "little") + head)
    assert completion.attributes(context, "") == ["woman=", "dark-skin="]
    assert completion.attributes(context, "wo") == ["woman="]
    path.write_bytes(b"\xff" * 40)
    assert completion.attributes(context, "") == []


def test_a_tab_runs_no_code_of_a_model_and_imports_no_torch(tmp_path: Path) -> None:
    own = tmp_path / "own.py"
    own.write_text(f"open({str(tmp_path / 'ran')!r}, 'w')")
    words = f"glowkit evaluate --model {own} --split te"
    asked = {"_GLOWKIT_COMPLETE": "complete_bash", "COMP_WORDS": words, "COMP_CWORD": "5"}
    code = (
        "import sys; from glowkit.cli import main\n"
        "try: main([])\n"
        "finally: print('torch' in sys.modules, file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], env=os.environ | asked, capture_output=True, text=True
    )
    assert done.stdout.split() == ["test"], done.stderr
    assert done.stderr.split()[-1] == "False"
    assert not (tmp_path / "ran").exists()


def test_sparkline() -> None:
    assert sparkline([]) == ""
    assert sparkline([2.0, 2.0]) == "▁▁"
    assert sparkline([4.0, math.inf, 1.0]) == "█ ▁"
    long = sparkline([float(1000 - n) for n in range(1000)])
    assert len(long) == 40
    assert (long[0], long[-1]) == ("█", "▁")


def test_settings_are_said_as_differences_from_the_nearest_preset(run: Path) -> None:
    start, changed = changes(read_run(run))
    assert start.startswith("the preset ")
    rows = {name: (here, there) for name, here, there in changed}
    assert rows["data"] == ("digits", "-")
    assert "learning_rate" not in rows or rows["learning_rate"][0] != rows["learning_rate"][1]
    assert all(here != there for here, there in rows.values())
    assert "image_shape" not in rows  # follows the data


@pytest.mark.parametrize("spec", ["digits", "points:moons", "table:power"])
def test_what_the_command_chose_itself_is_no_difference(spec: str) -> None:
    def told(**given: float) -> dict[str, tuple[str, str]]:
        training = plan(Request(spec, None, None, None, [], False, given, {}), None).training
        columns = ("x",) * spec.startswith("table:")
        _, changed = changes(RunSettings({"spec": spec}, None, training, columns=columns))
        return {name: (here, there) for name, here, there in changed if name != "data"}

    minutes = f"{defaults_of(spec).minutes:g}"
    assert told() == {}
    assert told(minutes=30.0) == {"minutes": ("30", minutes)}
    assert told(epochs=3.0) == {"epochs": ("3", "none"), "minutes": ("none", minutes)}
    assert told(evaluate_every=7.0)["evaluate_every"][0] == "7"


def test_what_training_for_coding_chose_itself_is_no_difference() -> None:
    usual = TrainConfig(minutes=MINUTES, **USUAL)
    lossy = LossySettings(0.1, 1.0, 32.0)
    _, changed = changes(RunSettings({"spec": "digits"}, None, usual, lossy=lossy))
    assert changed == [("data", "digits", "-")]


def test_a_report_goes_where_it_is_asked_to(
    cli: Cli, run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[str] = []
    monkeypatch.setattr("webbrowser.open", lambda address: bool(opened.append(address)))
    before = (run / "report.html").read_bytes()
    page = tmp_path / "pages" / "run.html"
    outcome = cli("report", run, "--out", page, "--open")
    assert outcome.code == 0, outcome.err
    assert "bits/dim" in page.read_text()
    assert (run / "report.html").read_bytes() == before
    assert opened == [page.resolve().as_uri()]
    assert "no browser could be opened here" in outcome.err  # which the None above says
    assert cli("report", run, "--out", tmp_path / "page.png").code == 2

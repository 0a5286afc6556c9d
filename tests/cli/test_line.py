"""What every command's line has in common: help, version, quiet, interruption, old names."""

import inspect
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import glowkit
from cli.conftest import SMALL, Cli
from glowkit.cli.main import COMMANDS
from glowkit.cli.speech import header, hint

NAMES = [command.__name__.removesuffix("_") for command in COMMANDS]


def options(command: str) -> set[str]:
    function = next(c for c in COMMANDS if c.__name__.removesuffix("_") == command)
    return set(inspect.signature(function).parameters)


def test_version(cli: Cli) -> None:
    outcome = cli("--version")
    assert outcome.code == 0
    assert outcome.out == f"glowkit {glowkit.__version__}\n"


@pytest.mark.parametrize("command", NAMES)
def test_every_command_has_short_help_quiet_json_and_one_word_for_a_thing(
    cli: Cli, command: str
) -> None:
    short, long = cli(command, "-h"), cli(command, "--help")
    assert short.code == long.code == 0
    assert short.out == long.out
    assert {"as_json", "quiet"} <= options(command)
    assert not {"accelerator", "frames"} & options(command)
    assert "draws" not in options(command) or command == "evaluate"  # of an estimate


def test_help_of_the_table(cli: Cli) -> None:
    assert cli("-h").out == cli("--help").out
    alone = cli()
    assert alone.code == 2
    assert alone.err == "glowkit: name a command; see glowkit --help\n"


# The line, and words of its sentence.
USAGE = {
    "unknown command": ("trian digits", "'train'"),
    "unknown option": ("train digits --epocs 3", "glowkit train --help"),
    "unknown option of the table": ("--verbose train", "glowkit --help"),
    "no argument": ("evaluate", "missing argument 'RUN'; see glowkit evaluate --help"),
    "too many arguments": ("evaluate a b c", "(c)"),
    "no value": ("train digits --epochs", "see glowkit train --help"),
    "not a number": ("train digits --epochs many", "'--epochs'"),
    "not a whole number": ("sample RUN -n 2.5", "'--count'"),
    "no option": ("import x", "'--format'"),
    "a flag with a value": ("train digits --resume=yes", "--resume"),
    "twice": ("train digits --epochs 1 --epochs 2", "--epochs is given twice"),
    "a flag twice": ("sample RUN --each-class --each-class", "--each-class is given twice"),
    "old and new name": ("scales RUN --count 2 --draws 3", "--count is given twice"),
    "empty": ("train digits --out=", "empty"),
    "negative seed": ("train digits --seed -1", "'--seed'"),
    "huge seed": ("sample RUN --seed 99999999999999999999", "'--seed'"),
    "NaN": ("train digits --minutes nan", "--minutes takes a number, not nan"),
    "infinite": ("train digits --epochs inf", "--epochs takes a number, not inf"),
    "NaN temperature": ("compare RUN --temperature nan", "--temperature"),
    "infinite temperature": ("scales RUN --temperature inf", "--temperature"),
    "NaN in a list": ("sample {run} --temperature 0.5,nan", "nan"),
    "NaN rate": ("train digits --learning-rate nan", "--learning-rate"),
    "infinite decay": ("train digits --weight-decay inf", "--weight-decay"),
    "NaN norm": ("train digits --clip-norm nan", "--clip-norm"),
}


@pytest.mark.parametrize("case", USAGE)
def test_a_wrong_line_gets_one_sentence(cli: Cli, run: Path, case: str) -> None:
    line, words = USAGE[case]
    outcome = cli(*line.format(run=run).split())
    assert outcome.code == 2
    assert words in outcome.err
    assert outcome.err.startswith("glowkit: ")
    assert outcome.err.count("\n") == 1


def test_an_empty_word_is_refused(cli: Cli) -> None:
    outcome = cli("evaluate", "")
    assert outcome.code == 2
    assert "empty" in outcome.err


def test_old_names_are_accepted(cli: Cli, run: Path, tmp_path: Path) -> None:
    assert cli("scales", run, "test:0", "--draws", 2, "--out", tmp_path / "s.png").code == 0
    out = tmp_path / "i.png"
    assert cli("interpolate", run, "test:0-1", "--frames=3", "--out", out).code == 0
    assert cli("train", "digits", *SMALL, "--accelerator", "cpu", "--out", tmp_path / "r").code == 0


def test_one_of_several_processes_speaks(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for rank in ("0", "1"):
        monkeypatch.setenv("LOCAL_RANK", rank)
        header("train digits")
        hint("next")
    assert capsys.readouterr().out.splitlines()[1:] == ["next"]


def test_quiet_says_results_only(cli: Cli, tmp_path: Path) -> None:
    outcome = cli("train", "digits", *SMALL, "--out", tmp_path / "run", "-q")
    assert outcome.code == 0
    assert outcome.err == ""
    assert not outcome.out.startswith("glowkit ")
    assert "next:" not in outcome.out
    assert "bits/dim" in outcome.out
    loud = cli("sample", tmp_path / "run")
    assert loud.out.startswith(f"glowkit {glowkit.__version__}: sample")
    silent = cli("sample", tmp_path / "run", "--quiet")
    assert silent.out
    assert loud.out.endswith(silent.out)
    assert "glowkit" not in silent.out.partition("\n")[0]


HEADER = """
import sys
sys.modules["torch"] = None     # to import it is an error
from glowkit.cli import main
try:
    main(sys.argv[1:])
except ImportError:
    print("torch is wanted")
"""


@pytest.mark.parametrize("line", ["train digits", "evaluate examples/digits", "sample x"])
def test_the_first_line_is_there_before_torch(line: str) -> None:
    command = [sys.executable, "-c", HEADER, *line.split()]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.stdout == f"glowkit {glowkit.__version__}: {line}\ntorch is wanted\n"
    done = subprocess.run([*command, "--json"], capture_output=True, text=True, check=False)
    assert done.stdout == "torch is wanted\n"


def test_train_says_what_it_is_about_to_do(cli: Cli, tmp_path: Path) -> None:
    outcome = cli("train", "digits", *SMALL, "--out", tmp_path / "run")
    second = outcome.out.splitlines()[1]
    for words in ("digits, 1,297 images of 1x8x8", "glow-tiny, 4,464 parameters", "cpu", "1 epoch"):
        assert words in second


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("seconds", [0.3, 1.2])
def test_an_interrupted_command_says_so(master: Path, number: int, seconds: float) -> None:
    """At whatever moment it comes: while the line is read, or torch imported, or a model used."""
    program = (
        "import signal, sys, time; print('up', flush=True);"
        "from glowkit.cli import main; main(sys.argv[1:])"
    )
    command = [sys.executable, "-c", program, "evaluate", str(master), "--importance", "100000"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        assert process.stdout
        line = process.stdout.readline()
        if number == signal.SIGTERM:  # before main there is nobody who could take it
            line = process.stdout.readline()
        assert line
        time.sleep(seconds)
        process.send_signal(number)
        _, err = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 130
    assert err == "glowkit: interrupted\n"


@pytest.mark.parametrize(
    "line",
    [
        "presets",
        "data",
        "data digits",
        "data points:moons",
        "evaluate {run}",
        "evaluate {conditional} --classify",
        "sample {run}",
        "reconstruct {run}",
        "scales {run} test:0-1",
        "interpolate {run} test:0-1",
        "compare {run} {run}",
        "attributes {run}",
    ],
)
def test_lines_fit_and_break_between_words(
    cli: Cli,
    run: Path,
    conditional: Path,
    line: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    words = line.format(run=run, conditional=conditional).split()
    said = {}
    for width in (60, 80, 1000):
        monkeypatch.setenv("COLUMNS", str(width))
        outcome = cli(*words)
        assert outcome.code == 0, outcome.err
        said[width] = outcome.out
        assert said[width].split() == said[60].split()
        for each in said[width].splitlines():
            # A path that is longer than a line stays whole.
            assert len(each) <= width or len(each.split()) == 1, each


@pytest.mark.parametrize("width", [60, 80, 120])
def test_the_lines_of_training_fit(
    cli: Cli, width: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    monkeypatch.chdir(tmp_path)
    outcome = cli("train", "digits", *SMALL, "--out", "run")
    assert "validation" in outcome.err
    for each in [*outcome.out.splitlines(), *outcome.err.splitlines()]:
        assert len(each) <= width, each
        assert not each.endswith(("-", "images/")), each

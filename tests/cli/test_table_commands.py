"""Tables through the commands: train, evaluate, sample and report, in the columns' own units."""

import json
from pathlib import Path

import numpy as np
import pyarrow
import pytest
from pyarrow import csv, parquet

from cli.conftest import Cli

SMALL = ["--set", "steps=2", "--set", "width=16", "--epochs", "6", "--batch-size", "64"]
SMALL += ["--evaluate-every", "60"]  # pair plots take a second each
SCALE = 1e3  # of column b


def table(path: Path, count: int = 1500, scale: float = SCALE) -> Path:
    """Column b is twice column c, plus noise, in units of its own; a is by itself."""
    random = np.random.default_rng(0)
    c = random.normal(size=count)
    columns = {
        "a": random.normal(size=count),
        "b": scale * (2 * c + 0.3 * random.normal(size=count)),
        "c": c,
    }
    csv.write_csv(pyarrow.table(columns), path)
    return path


def trained(folder: Path, *arguments: object) -> Path:
    from glowkit.cli import main

    with pytest.raises(SystemExit) as stopped:
        main(["train", *map(str, arguments), *SMALL, "--out", str(folder)])
    assert not stopped.value.code
    return folder


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return table(tmp_path_factory.mktemp("tables") / "t.csv")


@pytest.fixture(scope="module")
def plain(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return trained(tmp_path_factory.mktemp("runs") / "plain", data)


@pytest.fixture(scope="module")
def given(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return trained(tmp_path_factory.mktemp("runs") / "given", data, "--context", "c")


def test_figures_and_baselines_are_in_the_files_units(cli: Cli, plain: Path) -> None:
    figures = json.loads(cli("evaluate", plain, "--json").out)
    truth = 3 * 0.5 * np.log(2 * np.pi * np.e) + np.log(0.3) + np.log(SCALE)
    assert figures["baselines"]["Gaussian"] == pytest.approx(truth, abs=0.3)
    assert figures["nll_nats"] == pytest.approx(truth, abs=0.5)
    assert 0 < figures["standard_error"] < 0.3
    assert figures["rows"] == figures["rows_in_split"] == 150
    assert figures["largest_error"] < 1e-2
    assert figures["broken_rows"] == figures["not_finite_rows"] == 0


def test_other_units_shift_every_figure_alike(
    cli: Cli, plain: Path, data: Path, tmp_path: Path
) -> None:
    """The same rows in units 1,000 times smaller cost ln 1000 less, to the model's rounding."""
    other = trained(tmp_path / "other", table(tmp_path / "u.csv", scale=1.0))
    one, two = (json.loads(cli("evaluate", run, "--json").out) for run in (plain, other))
    assert one["nll_nats"] - two["nll_nats"] == pytest.approx(np.log(SCALE), abs=0.02)


def test_a_person_reads_nats_and_the_report_has_them(cli: Cli, plain: Path) -> None:
    outcome = cli("evaluate", plain, "--split", "validation")
    assert "nats" in outcome.out
    assert "Gaussian nats" in outcome.out
    assert "bits" not in outcome.out
    page = (plain / "report.html").read_text()
    assert "nats a row" in page
    assert "data:image/png;base64," in page
    assert "bits/dim" not in page.lower()
    assert len(list(plain.glob("samples/step-*.png"))) >= 1


def test_samples_have_the_columns_and_their_correlation(
    cli: Cli, plain: Path, tmp_path: Path
) -> None:
    assert cli("sample", plain, "--count", 2000).code == 0
    rows = csv.read_csv(plain / "samples" / "rows.csv")
    assert rows.column_names == ["a", "b", "c"]
    b, c = rows["b"].to_numpy(), rows["c"].to_numpy()
    assert np.corrcoef(b, c)[0, 1] > 0.9
    assert 0.8 < b.std() / (SCALE * np.sqrt(4.09)) < 1.2
    for name in ("s.npy", "s.parquet"):
        said = json.loads(cli("sample", plain, "-n", 7, "--out", tmp_path / name, "--json").out)
        assert (said["rows"], said["columns"]) == (7, ["a", "b", "c"])
    array = np.load(tmp_path / "s.npy")
    same = parquet.read_table(tmp_path / "s.parquet")
    assert np.array_equal(array, np.stack([column.to_numpy() for column in same.columns], axis=1))


def test_a_conditional_run_draws_given_values_or_a_file(
    cli: Cli, given: Path, tmp_path: Path
) -> None:
    for value in (-1.0, 1.0):
        out = tmp_path / "s.csv"
        assert cli("sample", given, "--context", value, "-n", 500, "--out", out).code == 0
        rows = csv.read_csv(out)
        assert rows.column_names == ["a", "b", "c"]
        assert set(rows["c"].to_pylist()) == {value}
        assert rows["b"].to_numpy().mean() == pytest.approx(2 * SCALE * value, abs=0.3 * SCALE)
    asked = tmp_path / "asked.csv"
    asked.write_text("extra,c\nx,-1\ny,1\n")
    assert cli("sample", given, "--context", asked, "-n", 3, "--out", tmp_path / "f.csv").code == 0
    assert csv.read_csv(tmp_path / "f.csv")["c"].to_pylist() == [-1.0] * 3 + [1.0] * 3


def test_other_data_are_evaluated_by_the_names_of_their_columns(
    cli: Cli, given: Path, data: Path, tmp_path: Path
) -> None:
    rows = csv.read_csv(data).append_column("text", pyarrow.array(["x"] * 1500))
    csv.write_csv(rows.select(["text", "c", "b", "a"]), tmp_path / "other.csv")
    own = json.loads(cli("evaluate", given, "--json").out)
    other = json.loads(cli("evaluate", given, tmp_path / "other.csv", "--json").out)
    assert other["nll_nats"] == pytest.approx(own["nll_nats"], abs=1e-6)
    assert own["baselines"]["Gaussian"] == pytest.approx(
        np.log(2 * np.pi * np.e) + np.log(0.3 * SCALE), abs=0.3
    )


def test_a_run_keeps_its_columns_and_goes_on(cli: Cli, given: Path) -> None:
    from glowkit.training import read_run

    run = read_run(given)
    assert (run.columns, run.context_columns) == (("a", "b"), ("c",))
    assert run.data["context"] == "c"
    assert cli("train", "--resume", "--out", given, "--epochs", 7).code == 0


def test_a_file_whose_columns_changed_places_is_the_same_table(cli: Cli, tmp_path: Path) -> None:
    from glowkit.training import read_run

    own = table(tmp_path / "own.csv", 300)
    run = trained(tmp_path / "run", own)
    before = json.loads(cli("evaluate", run, "--json").out)
    csv.write_csv(csv.read_csv(own).select(["c", "b", "a"]), own)
    after = json.loads(cli("evaluate", run, "--json").out)
    assert after["nll_nats"] == pytest.approx(before["nll_nats"], abs=1e-6)
    figures = cli("train", "--resume", "--out", run, "--epochs", 7, "--json").out
    assert read_run(run).columns == ("a", "b", "c")
    assert json.loads(figures)["nll_nats"] < before["nll_nats"] + 1


def test_a_model_folder_draws_numbered_columns(cli: Cli, plain: Path, tmp_path: Path) -> None:
    assert cli("sample", plain / "model", "-n", 4, "--out", tmp_path / "s.csv").code == 0
    assert csv.read_csv(tmp_path / "s.csv").column_names == ["x0", "x1", "x2"]


def test_one_column_is_enough(cli: Cli, data: Path, tmp_path: Path) -> None:
    run = trained(tmp_path / "one", data, "--target", "b")
    figures = json.loads(cli("evaluate", run, "--json").out)
    assert figures["nll_nats"] < figures["baselines"]["Gaussian"] + 1


def test_noise_widens_what_is_learned(cli: Cli, data: Path, tmp_path: Path) -> None:
    """Of one deviation, it doubles the variance of column a, which is by itself."""
    noisy = trained(tmp_path / "noisy", data, "--noise", "1.0", "--learning-rate", "0.01")
    assert cli("sample", noisy, "--count", 2000).code == 0
    drawn = csv.read_csv(noisy / "samples" / "rows.csv")["a"].to_numpy()
    assert drawn.std() == pytest.approx(np.sqrt(2), rel=0.15)


def test_data_describes_a_table(cli: Cli, data: Path) -> None:
    figures = json.loads(cli("data", data, "--json").out)
    assert figures["rows"] == {"train": 1200, "validation": 150, "test": 150}
    assert list(figures["columns"]) == ["a", "b", "c"]
    assert figures["columns"]["b"]["deviation"] == pytest.approx(SCALE * 2.02, rel=0.1)
    assert "table:NAME" in cli("data").out


BAD = {
    "a model of images": ("train {data} --preset glow-tiny", "nsf-points"),
    "labels": ("train {data} --conditional", "--target or --context"),
    "one column and couplings": (
        "train {data} --target a --preset spline-points",
        "structure 'autoregressive'",
    ),
    "no such column": ("train {data} --target z", "no column z; it has a, b, c"),
    "dimensions of another table": ("train {data} --set dimensions=2", "dimensions"),
    "importance": ("evaluate {plain} --importance 2", "--importance"),
    "classes": ("sample {plain} --class 1", "no classes"),
    "images": ("evaluate {plain} digits", "rows of a table"),
    "points": ("evaluate {plain} points:moons", "rows of a table"),
    "columns missing": ("evaluate {given} {other}", "no column a, b, c"),
    "a picture": ("sample {plain} --out a.png", ".csv"),
    "two temperatures": ("sample {plain} --temperature 0,1", "one temperature"),
    "batches": ("sample {plain} --batch-size 3", "--batch-size"),
    "no context": ("sample {given}", "conditional on c"),
    "too many values": ("sample {given} --context 1,2", "2 number(s)"),
    "values that are no numbers": ("sample {given} --context warm", "neither a file nor numbers"),
    "a context that is not finite": ("sample {given} --context nan", "must be finite"),
    "a context of a missing file": ("sample {given} --context no.csv", "no.csv: no such file"),
    "a context of several columns": (
        "sample {given} --context {wide}",
        "3 column(s), and this model is conditional on 1: c",
    ),
    "a context of no use": ("sample {plain} --context 1", "takes no context"),
    "reconstruct": ("reconstruct {plain}", "model of rows"),
    "resume with other columns": (
        "train --resume --out {given} --epochs 9 --target a",
        "leave out --target",
    ),
    "noise on points": ("train points:moons --noise 0.1", "leave out --noise"),
    "context for images": ("train digits --target a", "no columns"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_gets_a_sentence(
    cli: Cli,
    data: Path,
    plain: Path,
    given: Path,
    case: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    other = tmp_path / "other.csv"
    other.write_text("q,r\n" + "\n".join(f"{i},{i * i}" for i in range(30)))
    wide = tmp_path.parent / f"{tmp_path.name}-wide.npy"
    np.save(wide, np.random.default_rng(0).normal(size=(5, 3)))
    command, words = BAD[case]
    names = {"wide": wide, "data": data, "plain": plain, "given": given, "other": other}
    outcome = cli(*[part.format(**names) for part in command.split()])
    assert outcome.code == 2
    assert words in outcome.err
    assert outcome.err.strip().splitlines()[-1].startswith("glowkit: ")
    assert [path.name for path in tmp_path.iterdir()] == ["other.csv"]

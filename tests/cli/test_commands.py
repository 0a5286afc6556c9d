"""The commands, end to end, on a small run."""

import json
import math
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml
from PIL import Image

import glowkit
from cli.conftest import SMALL, Cli, trained
from glowkit.cli.main import COMMANDS
from glowkit.pictures.sheet import GAP, MARGIN


def test_a_run_folder_holds_what_it_should(run: Path) -> None:
    for name in (
        "config.yaml",
        "model/config.json",
        "model/model.safetensors",
        "checkpoints/last.ckpt",
        "metrics.csv",
        "report.html",
    ):
        assert (run / name).stat().st_size > 0
    assert list(run.glob("samples/*.png"))
    assert list(run.glob("tensorboard/events*"))
    settings = yaml.safe_load((run / "config.yaml").read_text())
    assert settings["data"] == {"spec": "digits"}
    assert settings["model"]["steps"] == 1


def test_evaluate_prints_the_figures_by_their_names(cli: Cli, run: Path) -> None:
    outcome = cli("evaluate", run, "--json", "--importance", 2)
    assert outcome.code == 0
    figures = json.loads(outcome.out)
    assert figures["images"] == 300
    assert figures["levels"] == 17
    assert figures["split"] == "test"
    assert figures["importance_samples"] == 2
    assert figures["largest_pixel_error"] == 0
    assert 0 < figures["bits_per_dim"] < 6
    assert 0 < figures["standard_error"] < 1


def test_evaluate_says_it_to_a_person(cli: Cli, run: Path) -> None:
    outcome = cli("evaluate", run, "--split", "validation")
    assert outcome.code == 0
    for words in ("bits/dim", "standard error", "validation split", "17", "one-sample bound"):
        assert words in outcome.out


def test_the_seed_repeats_an_evaluation(cli: Cli, run: Path) -> None:
    first, again, other = (
        json.loads(cli("evaluate", run, "--json", "--seed", seed).out)["bits_per_dim"]
        for seed in (1, 1, 2)
    )
    assert first == again != other


def test_more_importance_samples_tighten_the_bound(cli: Cli, run: Path) -> None:
    one, many = (
        json.loads(cli("evaluate", run, "--json", "--importance", k).out)["bits_per_dim"]
        for k in (1, 8)
    )
    assert many < one


def test_sample_draws_a_row_for_each_temperature(cli: Cli, run: Path, tmp_path: Path) -> None:
    sizes = []
    for temperatures in ("1", "0,0.7,1"):
        out = tmp_path / f"{len(sizes)}.png"
        outcome = cli("sample", run, "--temperature", temperatures, "--out", out, "-n", 4)
        assert outcome.code == 0
        assert str(out) in outcome.out
        with Image.open(out) as sheet:
            sizes.append(sheet.size)
    assert sizes[1][1] > 2 * sizes[0][1]


def test_sample_repeats_with_its_seed(cli: Cli, run: Path, tmp_path: Path) -> None:
    sheets = []
    for seed in (3, 3, 4):
        cli("sample", run, "--seed", seed, "--out", tmp_path / "sheet.png")
        sheets.append((tmp_path / "sheet.png").read_bytes())
    assert sheets[0] == sheets[1] != sheets[2]


def test_reconstruct_is_exact(cli: Cli, run: Path) -> None:
    outcome = cli("reconstruct", run, "--json")
    assert json.loads(outcome.out)["largest_pixel_error"] == 0
    assert (run / "samples" / "reconstruction.png").stat().st_size > 0


def test_a_model_folder_alone_serves_too(cli: Cli, run: Path, tmp_path: Path) -> None:
    assert cli("sample", run / "model", "--out", tmp_path / "sheet.png").code == 0
    assert cli("evaluate", run / "model", "digits").code == 0
    assert cli("evaluate", run / "model").code == 2


def test_a_conditional_model_samples_a_class(cli: Cli, conditional: Path, tmp_path: Path) -> None:
    assert cli("sample", conditional, "--class", 3, "--out", tmp_path / "a.png").code == 0
    assert cli("evaluate", conditional).code == 0
    outcome = cli("sample", conditional, "--class", 10, "--out", tmp_path / "b.png")
    assert outcome.code == 2
    assert "class 10" in outcome.err
    assert "0 to 9" in outcome.err


def test_conditional_conditions_everything_unless_told_otherwise(
    conditional: Path, tmp_path: Path
) -> None:
    config = glowkit.load(conditional / "model").config
    assert (config.classes, config.conditioning) == (10, "everywhere")
    top = trained(tmp_path / "top", "--conditional", "--set", "conditioning=top")
    assert glowkit.load(top / "model").config.conditioning == "top"


def test_the_same_noise_under_each_class(cli: Cli, conditional: Path, tmp_path: Path) -> None:
    out = tmp_path / "classes.png"
    command = ["sample", conditional, "--each-class", "-n", 4, "--out", out]
    outcome = cli(*command, "--temperature", "0.7", "--json")
    assert json.loads(outcome.out)["samples"] == 40
    tile = 7 * 8
    with Image.open(out) as sheet:
        assert sheet.height == 10 * tile + 9 * GAP + 2 * MARGIN
    outcome = cli(*command, "--temperature", "0.5,1")
    assert "2 temperature(s), of each of 10 classes" in outcome.out
    with Image.open(out) as sheet:
        assert sheet.height == 20 * tile + 19 * GAP + 2 * MARGIN


def test_a_class_goes_by_its_name(cli: Cli, files: Path, tmp_path: Path) -> None:
    """Sub-folders name classes; a name that looks like a number counts before the number."""
    photos = tmp_path / "photos"
    for name in ("2", "cat", "dog"):
        shutil.copytree(files / "good", photos / name)
    run = tmp_path / "run"
    assert cli("train", photos, *SMALL, "--size", 8, "--conditional", "--out", run).code == 0
    drawn = {}
    for word in ("2", "0", "1", "cat", "dog"):
        out = tmp_path / f"{word}.png"
        assert cli("sample", run, "--class", word, "--out", out).code == 0
        drawn[word] = out.read_bytes()
    assert drawn["2"] == drawn["0"]
    assert drawn["1"] == drawn["cat"]
    assert drawn["cat"] != drawn["dog"]
    outcome = cli("sample", run, "--class", "horse")
    assert outcome.code == 2
    assert "class horse" in outcome.err
    assert "(2, cat, dog)" in outcome.err
    # A model folder alone knows the numbers only.
    assert cli("sample", run / "model", "--class", "cat").code == 2


def test_evaluate_tells_classes(cli: Cli, conditional: Path) -> None:
    outcome = cli("evaluate", conditional, "--classify", "--json")
    assert outcome.code == 0, outcome.err
    figures = json.loads(outcome.out)
    assert 0 <= figures["accuracy"] <= 1
    bound = figures["bits_per_dim"] + math.log2(10) / 64
    assert figures["marginal_bits_per_dim"] <= bound + 0.05
    assert "head_accuracy" not in figures
    outcome = cli("evaluate", conditional, "--classify")
    assert "%, of the class that makes an image likeliest" in outcome.out


def test_images_of_a_folder_train_at_a_size(cli: Cli, files: Path, tmp_path: Path) -> None:
    out = tmp_path / "photos"
    outcome = cli("train", files / "good", "--size", 4, *SMALL, "--out", out, "--batch-size", 4)
    assert outcome.code == 0
    assert cli("reconstruct", out, files / "good" / "3.png").code == 0
    assert cli("evaluate", out, files / "sizes", "--split", "train").code == 0


def test_bad_images_can_be_skipped(cli: Cli, files: Path) -> None:
    outcome = cli("data", files / "corrupt", "--skip-bad")
    assert outcome.code == 0
    assert "1" in outcome.out
    assert "skipped" in outcome.out


def test_fewer_pixel_levels_on_request(cli: Cli, files: Path, tmp_path: Path) -> None:
    out = tmp_path / "five-bit"
    outcome = cli(
        "train", files / "good", "--set", "pixel_levels=32", *SMALL, "--out", out, "--json"
    )
    assert json.loads(outcome.out)["levels"] == 32


def test_a_config_file_repeats_a_run(cli: Cli, run: Path, tmp_path: Path) -> None:
    out = tmp_path / "again"
    assert cli("train", "--config", run / "config.yaml", "--out", out).code == 0
    weights = "model/model.safetensors"
    assert (out / weights).read_bytes() == (run / weights).read_bytes()


def test_a_finished_run_goes_on_with_a_larger_budget(cli: Cli, run: Path) -> None:
    finished = cli("train", "--resume", "--out", run)
    assert finished.code == 2
    assert "finished" in finished.err
    assert cli("train", "--resume", "--out", run, "--epochs", 2).code == 0


def test_presets_and_data_list_what_there_is(cli: Cli) -> None:
    assert json.loads(cli("presets", "--json").out)["glow-cifar10"]["parameters"] == 44_603_604
    listed = cli("presets").out
    assert "glow-tiny" in listed
    assert "couplings=4 width=1000" in listed  # each family has settings of its own
    assert "fashion-mnist" in cli("data").out
    assert "1297 train" in cli("data", "digits").out


@pytest.mark.parametrize("command", [command.__name__ for command in COMMANDS])
def test_help_shows_an_example(cli: Cli, command: str) -> None:
    outcome = cli(command.removesuffix("_"), "--help")
    assert outcome.code == 0
    assert f"Example: glowkit {command.removesuffix('_')}" in outcome.out


def test_ctrl_c_saves_says_how_to_resume_and_exits_130(tmp_path: Path) -> None:
    out = tmp_path / "run"
    command = [sys.executable, "-c", "from glowkit.cli import main; main()", "train", "digits"]
    small = ["--set", "steps=1", "--set", "width=8", "--epochs", "100000"]
    process = subprocess.Popen([*command, *small, "--out", out], stderr=subprocess.PIPE, text=True)
    metrics = out / "metrics.csv"
    try:
        while not (metrics.exists() and metrics.read_text().count("\n") > 2):
            assert process.poll() is None, process.stderr and process.stderr.read()
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 130
    assert f"glowkit train --resume --out {out}" in err
    assert "Traceback" not in err

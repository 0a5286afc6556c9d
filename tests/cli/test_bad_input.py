"""Every bad input gets one sentence on stderr, exit code 2, and no traceback."""

import json
from pathlib import Path

import pytest

from cli.conftest import Cli

# The command, with {files} and {run} to fill in, and words of its sentence.
BAD = {
    "missing path": ("train {files}/nowhere", "no such file or folder"),
    "no data": ("train", "name the DATA"),
    "folder without images": ("train {files}/empty", "empty"),
    "corrupt image": ("train {files}/corrupt", "7.png"),
    "several sizes": ("train {files}/sizes", "--size"),
    "one image": ("train {files}/one", "image"),
    "no labels": ("train {files}/good --conditional", "no class labels"),
    "side not divisible": ("train {files}/side.npy", "28 or 32"),
    "other channels": ("evaluate {run} {files}/colour.npy", "1x8x8"),
    "npz without images": ("train {files}/none.npz", "none.npz"),
    "npz with several": ("train {files}/several.npz", "several.npz"),
    "floats out of range": ("train {files}/floats.npy", "0"),
    "unknown preset": ("train digits --preset glow-huge", "glow-tiny"),
    "unknown setting": ("train digits --set stepz=3", "stepz"),
    "setting without value": ("train digits --set steps", "NAME=VALUE"),
    "unknown option": ("train digits --epocs 3", "--epocs"),
    "unknown command": ("trian digits", "trian"),
    "not a number": ("train digits --epochs many", "--epochs"),
    "zero minutes": ("train digits --minutes 0", "0 minutes"),
    "zero epochs": ("train digits --epochs 0", "0 epochs"),
    "both budgets": ("train digits --epochs 1 --minutes 1", "either epochs or minutes"),
    "zero batch": ("train digits --batch-size 0", "batch_size 0"),
    "unknown optimizer": ("train digits --optimizer sgd", "adamax"),
    "run exists": ("train digits --out {run}", "--resume"),
    "resume nothing": ("train --resume --out {files}/good", "not a run folder"),
    "resume without out": ("train --resume", "--out"),
    "resume another model": ("train --resume --out {run} --set steps=2", "keeps its model"),
    "resume with another optimizer": (
        "train --resume --out {run} --epochs 2 --optimizer adamax",
        "--optimizer",
    ),
    "resume with other data": ("train {files}/good --resume --out {run} --epochs 2", "digits"),
    "unknown accelerator": ("train digits --accelerator abacus --out {files}/new", "abacus"),
    "no devices": ("train digits --devices 0 --out {files}/new", "--devices 1"),
    "fraction of a step": ("train digits --set steps=2.5", "whole number"),
    "setting that is no value": ("train digits --set coupling=[", "is not a value"),
    "too many bins": ("train digits --set coupling=spline --set bins=600", "at most 500"),
    "class of a data set": ("reconstruct {run} --class 1", "--class"),
    "missing config": ("train --config {files}/no.yaml", "no.yaml"),
    "config and preset": ("train --config {run}/config.yaml --preset glow-tiny", "--preset"),
    "output below a file": ("train digits --out {files}/side.npy/run", "side.npy"),
    "missing run": ("evaluate {files}/nowhere", "no such run"),
    "folder not ours": ("evaluate {files}/good", "not a run folder"),
    "unknown split": ("evaluate {run} --split tst", "validation"),
    "zero importance": ("evaluate {run} --importance 0", "at least 1"),
    "unknown device": ("evaluate {run} --device abacus", "abacus"),
    "negative temperature": ("sample {run} --temperature -0.5", "0 or more"),
    "temperature not a number": ("sample {run} --temperature warm", "warm"),
    "zero samples": ("sample {run} --count 0", "0 samples"),
    "class of an unconditional model": ("sample {run} --class 1", "no classes"),
    "each class of an unconditional model": ("sample {run} --each-class", "no classes"),
    "classes of an unconditional model": ("evaluate {run} --classify", "no classes"),
    "classes of rows": ("interpolate {conditional} test:1 test:2 --class 1", "image file"),
    "rate that is no number": (
        "train digits --preset flowpp-tiny --set dropout=abc",
        "must be a number",
    ),
    "side that is no whole number": ("train digits --set image_shape=[1,8.0,8]", "whole numbers"),
    "context without vectors": (
        "train digits --set context_features=2 --out {files}/new",
        "2 number(s)",
    ),
    "sheet not writable": ("sample {run} --out {files}/side.npy/a.png", "cannot write"),
    "zero reconstructions": ("reconstruct {run} --count 0", "--count 1"),
    "missing image": ("reconstruct {run} {files}/no.png", "no.png"),
    "corrupt reconstruction": ("reconstruct {run} {files}/corrupt/7.png", "7.png"),
    "one end of a path": ("interpolate {run} test:1", "at least 2 images"),
    "no ends of a path": ("interpolate {run}", "--random"),
    "unknown path": ("interpolate {run} test:1 test:2 --path crooked", "spherical"),
    "no frames": ("interpolate {run} test:1 test:2 --frames 1", "2 or more"),
    "fewer than two samples": ("interpolate {run} --random -3", "--random"),
    "path as JPEG": ("interpolate {run} test:1 test:2 --out {files}/a.jpg", "a name in .png"),
    "scales as an array": ("scales {run} --out {files}/a.npy", "a name in .png"),
    "comparison as an array": ("compare {run} --out {files}/a.npy", "a name in .png"),
    "reconstruction as an array": ("reconstruct {run} --out {files}/a.npy", "a name in .png"),
    "scales too large": ("scales {run} --draws 900", "ask for fewer"),
    "grid of three": ("interpolate {run} test:1-3 --grid", "4 corners"),
    "no such row": ("interpolate {run} test:1 test:300", "0 to 299"),
    "rows backwards": ("scales {run} test:7-3", "test:7-3"),
    "rows without a run": ("scales {run}/model test:1", "name the DATA"),
    "missing end": ("interpolate {run} test:1 {files}/no.png", "no.png"),
    "class without classes": ("scales {run} {files}/one/a.png --class 1", "--class"),
    "latents elsewhere": ("encode {run} --out {files}/latents.txt", ".npz"),
    "latents of an unknown dtype": ("encode {run} --dtype int8", "float64"),
    "latents of an unknown split": ("encode {run} --split tst", "validation"),
    "no latents": ("decode {run} {files}/none.npz", "no array 'noises'"),
    "latents of another model": ("decode {run} {files}/wide.npz", "(N, 64)"),
    "latents that are NaN": ("decode {run} {files}/nan.npz --out {files}/nan.npy", "NaN"),
    "latents that are text": ("decode {run} {files}/side.npy", "side.npy"),
    "other noises": ("compare {run} {flat}", "different noises"),
    "sheet too large": ("sample {run} -n 2000", "do not fit on a sheet"),
    "temperatures off a sheet": ("sample {run} --temperature 0.5,1 --out {files}/s.npy", "sheet"),
    "images as JPEG": ("sample {run} --out {files}/a.jpg", "not written as .jpg"),
    "folder taken": ("sample {run} --out {files}/one", "exists already"),
    "report of a model": ("report {run}/model", "not a run folder"),
    "edit without attributes": ("edit {run} test:0 --attribute 3=1", "glowkit attributes"),
    "unknown method": ("attributes {run} --method median", "mean, logistic"),
    "orthogonal to nothing known": ("attributes {run} --orthogonal-to smile", "known: 0"),
    "labels of no files": ("attributes {run} --labels {files}/side.npy", "leave out --labels"),
    "no integrand": ("integrate camle:4", "choose one of gauss:DIMS"),
    "integrand of a missing file": ("integrate {files}/no.py:f --dims 2", "no Python file"),
    "integrand without a function": ("integrate {files}/f.py --dims 2", "FILE.py:FUNCTION"),
    "integrand of no dimensions": ("integrate {files}/f.py:f", "--dims"),
    "integrand of zero dimensions": ("integrate {files}/f.py:f --dims 0", "dims is 0"),
    "function that is missing": ("integrate {files}/f.py:g --dims 2", "no function 'g'; it has f"),
    "function that fails": (
        "integrate {files}/f.py:f --dims 2",
        "fails: ZeroDivisionError: division by zero (line 2)",
    ),
    "bounds that are none": ("integrate {files}/f.py:f --dims 2 --bounds 0..1", "LOW:HIGH"),
    "bounds reversed": ("integrate {files}/f.py:f --dims 2 --bounds 1:-1", "must come first"),
    "bounds of a benchmark": ("integrate camel:2 --bounds 0:2", "leave out --bounds"),
    "dimensions of a benchmark": ("integrate camel:2 --dims 2", "leave out --dims"),
    "dimensions of the flow": ("integrate camel:2 --set dimensions=3", "use --dims"),
    "too few calls": ("integrate camel:2 --calls 1e3", "give at least"),
    "part of a call": ("integrate camel:2 --calls 1e4.5", "--calls"),
    "calls that are no number of points": ("integrate camel:2 --calls 7000.5", "whole number"),
    "unknown loss": ("integrate camel:2 --loss mse", "kl, chi2, variance"),
    "unknown comparison": ("integrate camel:2 --compare suave", "flat, vegas"),
    "picture of three dimensions": ("integrate camel:3 --out {files}/a.png", "leave out --out"),
    "picture that is none": ("integrate picture:{files}/f.py", "cannot be read as an image"),
    "picture that is missing": ("integrate picture:{files}/no.png", "no such image file"),
    "data missing": ("data {files}/nowhere", "no such file or folder"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_gets_a_sentence(
    cli: Cli,
    files: Path,
    run: Path,
    flat: Path,
    conditional: Path,
    case: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(files)
    command, words = BAD[case]
    before = {path: path.stat().st_mtime_ns for path in run.rglob("*")}
    places = {"files": files, "run": run, "flat": flat, "conditional": conditional}
    arguments = [part.format(**places) for part in command.split()]
    outcome = cli(*arguments)
    assert outcome.code == 2
    assert words in outcome.err
    assert outcome.err.startswith("glowkit: ")
    assert outcome.err.count("\n") == 1
    assert {path: path.stat().st_mtime_ns for path in run.rglob("*")} == before


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        ("no config", "config"),
        ("not ours", "not of a glowkit model"),
        ("not json", "damaged"),
        ("newer", "newer glowkit"),
        ("truncated", "truncated"),
        ("other weights", "do not fit"),
        ("no weights", "model.safetensors"),
    ],
)
def test_a_damaged_model_is_refused(cli: Cli, run: Path, damage: str, words: str) -> None:
    config, weights = run / "model" / "config.json", run / "model" / "model.safetensors"
    about = json.loads(config.read_text())
    match damage:
        case "no config":
            config.unlink()
        case "not ours":
            config.write_text("{}")
        case "not json":
            config.write_text(config.read_text()[:20])
        case "newer":
            config.write_text(json.dumps(about | {"format_version": 99}))
        case "truncated":
            weights.write_bytes(weights.read_bytes()[:1000])
        case "other weights":
            config.write_text(json.dumps(about | {"width": 9}))
        case "no weights":
            weights.unlink()
    outcome = cli("sample", run)
    assert outcome.code == 2
    assert words in outcome.err
    assert outcome.err.count("\n") == 1

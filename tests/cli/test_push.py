"""Models on the Hub, pushed and taken from there, beside a Hub that is a folder: no network."""

import json
import re
import shutil
from collections.abc import Callable
from fnmatch import fnmatch
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import yaml
from PIL import Image

import glowkit
from cli.conftest import Cli
from cli.test_json import check

huggingface_hub = pytest.importorskip("huggingface_hub")
errors = pytest.importorskip("huggingface_hub.errors")

DIGITS = Path(__file__).parents[2] / "examples" / "digits"
NAME, ADDRESS = "someone/digits", "hf:someone/digits"


def refused(kind: type, code: int = 404) -> Exception:
    """An error of the Hub's, as its answer to a request makes one."""
    response = SimpleNamespace(headers={}, request=None, status_code=code)
    return kind(f"{code} of the Hub", response=response)


class FakeHub:
    """Repositories as folders, with what of huggingface_hub is used."""

    def __init__(self, folder: Path) -> None:
        self.repositories, self.cache = folder / "hub", folder / "cache"
        self.public: dict[str, bool] = {}
        self.asked: list[tuple[str | None, list[str]]] = []
        self.error: Exception | None = None

    def files(self, name: str) -> dict[str, Path]:
        root = self.repositories / name
        return {str(path.relative_to(root)): path for path in root.rglob("*") if path.is_file()}

    def snapshot_download(
        self, name: str, *, revision: str | None, allow_patterns: list[str], library_name: str
    ) -> str:
        self.asked.append((revision, allow_patterns))
        if self.error is not None:
            raise self.error
        if name not in self.public:
            raise refused(errors.RepositoryNotFoundError)
        if revision not in (None, "v1", "0123abc"):
            raise refused(errors.RevisionNotFoundError)
        snapshot = self.cache / name / "snapshots" / "0123abc"
        snapshot.mkdir(parents=True, exist_ok=True)
        for file, path in self.files(name).items():
            if any(fnmatch(file, pattern) for pattern in allow_patterns):
                shutil.copy(path, snapshot / file)
        return str(snapshot)

    def HfApi(self, library_name: str) -> "FakeHub":
        return self

    def create_repo(self, name: str, *, private: bool, exist_ok: bool) -> str:
        if self.error is not None:
            raise self.error
        assert exist_ok
        self.public.setdefault(name, not private)
        return f"https://huggingface.co/{name}"

    def model_info(self, name: str) -> Any:
        held = self.files(name)
        card = held["README.md"].read_text() if "README.md" in held else ""
        ours = "library_name: glowkit" in card
        return SimpleNamespace(
            private=not self.public[name],
            siblings=[SimpleNamespace(rfilename=file) for file in held],
            library_name="glowkit" if ours else None,
            tags=None,
        )

    def create_commit(self, name: str, operations: list[Any], *, commit_message: str) -> None:
        for operation in operations:
            path = self.repositories / name / operation.path_in_repo
            path.parent.mkdir(parents=True, exist_ok=True)
            held = operation.path_or_fileobj
            path.write_bytes(held if isinstance(held, bytes) else Path(held).read_bytes())


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeHub:
    fake = FakeHub(tmp_path)
    monkeypatch.setattr(huggingface_hub, "snapshot_download", fake.snapshot_download)
    monkeypatch.setattr(huggingface_hub, "HfApi", fake.HfApi)
    return fake


@pytest.fixture
def pushed(hub: FakeHub, cli: Cli) -> FakeHub:
    assert cli("push", DIGITS, NAME, "--license", "mit").code == 0
    return hub


def head(card: str) -> dict[str, Any]:
    return dict(yaml.safe_load(card.split("---\n")[1]))


def test_a_pushed_model_is_the_same_when_loaded(pushed: FakeHub) -> None:
    assert pushed.files(NAME).keys() == {
        "README.md",
        "config.json",
        "model.safetensors",
        "attributes.safetensors",
    }
    here, there = glowkit.load(DIGITS), glowkit.load(f"{ADDRESS}@v1")
    assert there.config == here.config
    held = there.state_dict()
    assert all(torch.equal(value, held[name]) for name, value in here.state_dict().items())
    # The weights of the very commit whose config was looked at, and nothing but three files.
    (first, config), (second, rest) = pushed.asked
    assert (first, second) == ("v1", "0123abc")
    assert config == ["config.json"]
    assert set(rest) == {"config.json", "model.safetensors", "attributes.safetensors"}


def test_what_is_not_ours_is_refused_before_its_weights(hub: FakeHub, cli: Cli) -> None:
    folder = hub.repositories / NAME
    folder.mkdir(parents=True)
    (folder / "config.json").write_text('{"model_type": "bert"}')
    (folder / "model.safetensors").write_text("large")
    hub.public[NAME] = True
    done = cli("sample", ADDRESS, "--out", "none.png")
    assert done.code == 2
    assert "not a glowkit model" in done.err
    assert [patterns for _, patterns in hub.asked] == [["config.json"]]


# What a command says of a model of the Hub that it would write into, or lacks the data of.
REFUSED = {
    "sample": "name a file with --out",
    "reconstruct": "name a file with --out",
    "interpolate --random 2": "name a file with --out",
    "scales test:0": "name a file with --out",
    "edit test:0 --attribute 3=0.6": "name a file with --out",
    "attributes digits": "hf download",
    "report": "a report is of a run folder",
    "evaluate": "name the DATA",
    "push other/name": "on the Hub already",
}


def test_commands_write_nothing_into_what_was_fetched(pushed: FakeHub, cli: Cli) -> None:
    for line, words in REFUSED.items():
        command, *rest = line.split()
        done = cli(command, ADDRESS, *rest)
        assert (done.code, done.err.count("\n")) == (2, 1), line
        assert words in done.err, line
        assert ADDRESS in done.err, line
    held = {path.name for path in pushed.cache.rglob("*") if path.is_file()}
    assert held == {"config.json", "model.safetensors", "attributes.safetensors"}


def test_commands_take_a_model_of_the_hub(pushed: FakeHub, cli: Cli, tmp_path: Path) -> None:
    out = tmp_path / "drawn.png"
    told = json.loads(cli("sample", ADDRESS, "-n", 2, "--out", out, "--json").out)
    assert told["run"] == ADDRESS
    assert out.is_file()
    evaluated = cli("evaluate", ADDRESS, "digits", "--json")
    assert json.loads(evaluated.out)["report_path"] is None
    # Attributes are of these weights, and came along.
    Image.new("L", (8, 8), 128).save(tmp_path / "grey.png")
    edited = cli("edit", ADDRESS, tmp_path / "grey.png", "--attribute", "3=0.6", "--out", out)
    assert edited.code == 0, edited.err


def test_train_does_not_write_to_the_hub(cli: Cli) -> None:
    done = cli("train", "digits", "--out", ADDRESS)
    assert done.code == 2
    assert "glowkit push" in done.err


ERRORS: dict[str, tuple[Callable[[], Exception], str]] = {
    "gated": (lambda: refused(errors.GatedRepoError, 403), "accept its conditions"),
    "unknown": (lambda: refused(errors.RepositoryNotFoundError), "where a command takes DATA"),
    "revision": (lambda: refused(errors.RevisionNotFoundError), "no revision 'v9'"),
    "not logged in": (lambda: refused(errors.HfHubHTTPError, 401), "hf auth login"),
    "down": (lambda: refused(errors.HfHubHTTPError, 503), "503 of the Hub"),
    "no network": (lambda: errors.LocalEntryNotFoundError("no name"), "check the network"),
    "offline": (lambda: errors.OfflineModeIsEnabled("offline"), "check the network"),
    "card": (lambda: ValueError("Invalid metadata\n- license"), "Invalid metadata - license"),
}


@pytest.mark.parametrize("name", ERRORS)
def test_errors_are_sentences(hub: FakeHub, cli: Cli, name: str) -> None:
    make, words = ERRORS[name]
    hub.error = make()
    done = cli("sample", f"{ADDRESS}@v9", "--out", "none.png")
    assert (done.code, done.err.count("\n")) == (2, 1)
    assert words in done.err


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("sample hf:digits", "hf:USER/NAME"),
        ("sample hf:a/b@", "hf:USER/NAME@REVISION"),
        ("push {digits} digits", "give USER/NAME"),
        ("push {digits} a/../b", "give USER/NAME"),
        ("push {digits}/nowhere a/b", "no such run"),
    ],
)
def test_names_are_checked_first(hub: FakeHub, cli: Cli, line: str, words: str) -> None:
    done = cli(*line.format(digits=DIGITS).split())
    assert done.code == 2
    assert words in done.err
    assert not hub.asked
    assert not hub.public


def test_without_the_package_it_is_named(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "huggingface_hub", None)
    assert "pip install 'glowkit[hf]'" in cli("sample", ADDRESS).err


def test_private_is_not_made_public(hub: FakeHub, cli: Cli) -> None:
    hub.public[NAME] = True
    done = cli("push", DIGITS, NAME, "--private")
    assert done.code == 2
    assert "nothing was uploaded" in done.err
    assert not hub.files(NAME)
    assert cli("push", DIGITS, "someone/hidden", "--private").code == 0
    assert hub.public["someone/hidden"] is False


def test_the_repository_of_something_else_is_left_alone(hub: FakeHub, cli: Cli) -> None:
    folder = hub.repositories / NAME
    folder.mkdir(parents=True)
    (folder / "pytorch_model.bin").write_text("of another library")
    hub.public[NAME] = True
    done = cli("push", DIGITS, NAME)
    assert done.code == 2
    assert "no model of glowkit" in done.err
    assert hub.files(NAME).keys() == {"pytorch_model.bin"}


def test_pushing_again_replaces(pushed: FakeHub, cli: Cli) -> None:
    done = cli("push", DIGITS, NAME)
    assert done.code == 0
    assert "no licence is named" in done.err


def test_a_report_writes_the_card_that_push_uploads(hub: FakeHub, cli: Cli, run: Path) -> None:
    assert cli("sample", run, "-n", 2).code == 0
    figures = json.loads(cli("evaluate", run, "--importance", 2, "--json").out)
    written = (run / "model-card.md").read_text()
    assert "license" not in head(written)
    told = json.loads(cli("push", run, NAME, "--license", "cc-by-4.0", "--json").out)
    check(told, "push")
    assert set(told["files"]) == hub.files(NAME).keys()
    assert "samples/samples.png" in told["files"]
    card = hub.files(NAME)["README.md"].read_text()
    about = head(card)
    assert about["license"] == "cc-by-4.0"
    assert about["library_name"] == "glowkit"
    assert about["pipeline_tag"] == "unconditional-image-generation"
    (result,) = about["model-index"][0]["results"]
    assert result["dataset"] == {"type": "digits", "name": "digits", "split": "test"}
    (metric,) = result["metrics"]
    assert metric["value"] == round(figures["bits_per_dim"], 4)
    assert "17 levels, 2 importance sample(s)" in metric["name"]
    assert f"**≤ {metric['value']:.4f} ±" in card
    assert 'glowkit.load("hf:someone/digits")' in card
    assert "| largest pixel error | 0" in card
    assert re.search(r"\d+ steps in \d+\.\d minutes on .+ thread", card)
    assert "USER/NAME" not in card
    huggingface_hub.ModelCard(card).data.to_dict()  # the Hub's own reader takes it


def test_a_readme_of_ones_own_goes_before_the_card(hub: FakeHub, cli: Cli, run: Path) -> None:
    (run / "README.md").write_text("Digits, by hand.\n")
    assert "no head of YAML" in cli("push", run, NAME).err
    (run / "README.md").write_text("---\nlibrary_name: glowkit\n---\nDigits, by hand.\n")
    assert cli("push", run, NAME, "--license", "mit").code == 0
    card = hub.files(NAME)["README.md"].read_text()
    assert card == "---\nlibrary_name: glowkit\nlicense: mit\n---\nDigits, by hand.\n"
    assert (run / "README.md").read_text().startswith("---\nlibrary_name: glowkit\n---\n")


def test_the_card_names_no_folder_of_this_machine(hub: FakeHub, cli: Cli, run: Path) -> None:
    config = run / "config.yaml"
    settings = yaml.safe_load(config.read_text())
    settings["data"]["spec"] = "/home/someone/secret/photos"
    config.write_text(yaml.safe_dump(settings))
    (run / "model-card.md").unlink()
    assert cli("push", run, NAME).code == 0
    card = hub.files(NAME)["README.md"].read_text()
    assert "spec: photos" in card
    assert "secret" not in card

"""Models on the Hugging Face Hub: `hf:USER/NAME[@REVISION]` wherever a run or model is taken."""

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from glowkit.system.errors import GlowkitError, shown
from glowkit.system.files import parse_json, read_small

PREFIX = "hf:"
ATTRIBUTES = "attributes.safetensors"
"""What `glowkit attributes` found, beside the model's two files; nothing else is ever fetched."""

_FIRST, _REST = ["config.json"], ["model.safetensors", ATTRIBUTES]
_OF_THE_HUB = {".gitattributes", "README.md"}  # which it makes itself in a new repository
_NAME = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*", re.ASCII)
_ADDRESS = re.compile(rf"({_NAME.pattern})(?:@([^@\s]+))?", re.ASCII)
_OF_THE_NETWORK = ("httpx", "httpx2", "httpcore", "requests", "huggingface_hub")
DATA_TOO = "data sets of the Hub are named where a command takes DATA"


@dataclass(frozen=True)
class Address:
    """A model on the Hub. revision: a branch, tag or commit; None is the default branch."""

    name: str
    revision: str | None = None

    def __str__(self) -> str:
        return f"{PREFIX}{self.name}" + (f"@{self.revision}" if self.revision else "")


def address_of(run: str | Path) -> Address | None:
    """The address that a RUN is, or None for a folder.

    Raises GlowkitError for an address that none can be.

    >>> address_of("hf:someone/digits@v1")
    Address(name='someone/digits', revision='v1')
    >>> address_of("runs/digits") is None
    True
    """
    if not str(run).startswith(PREFIX):
        return None
    match = _ADDRESS.fullmatch(str(run).removeprefix(PREFIX))
    if not match:
        raise GlowkitError(
            f"{shown(str(run))} is no model on the Hub: one is named hf:USER/NAME, or"
            f" hf:USER/NAME@REVISION; {DATA_TOO}"
        )
    return Address(*match.groups())


def local(run: str | Path) -> Path:
    """The folder of a run or model, which is fetched first if it is an address on the Hub.

    What was fetched stays in huggingface_hub's own cache, and is not fetched again; without a
    network what is there is used. Only config.json, model.safetensors and attributes.safetensors
    are fetched, and the weights only if config.json is one of glowkit's.

    Raises:
        GlowkitError: when huggingface_hub is not installed, and when there is no such model, it may
            not be seen, cannot be reached, or is not one of glowkit's.
    """
    address = address_of(run)
    if address is None:
        return Path(run)
    download = _library(str(address)).snapshot_download
    with _sentences(address):
        about = Path(download(address.name, revision=address.revision, **_only(_FIRST)))
    _check_ours(address, about / "config.json")
    with _sentences(address):
        # The folder of a snapshot has the name of its commit: a push in between changes nothing.
        folder = Path(download(address.name, revision=about.name, **_only(_FIRST + _REST)))
    if not (folder / "model.safetensors").is_file():
        raise GlowkitError(f"{address} is not a whole glowkit model: it has no model.safetensors")
    return folder


def push(files: Mapping[str, Path], name: str, card: str, private: bool = False) -> str:
    """Upload a model in one commit to USER/NAME on the Hub; returns the address of its page.

    The repository is made if there is none.

    Args:
        files: what to upload, by the names they get there: config.json, model.safetensors, ...
        name: USER/NAME.
        card: text of the model card, there README.md.
        private: made so that others do not see it.

    Raises:
        GlowkitError: when huggingface_hub is not installed, for a name that none can be, when the
            repository is public though it was to be private, holds something else than a glowkit
            model, or cannot be written.
    """
    if not _NAME.fullmatch(name):
        raise GlowkitError(f"{shown(name)} is no name on the Hub; give USER/NAME")
    address = Address(name)
    library = _library(str(address))
    api, add = library.HfApi(library_name="glowkit"), library.CommitOperationAdd
    with _sentences(address):
        url = str(api.create_repo(name, private=private, exist_ok=True))
        there = api.model_info(name)
    if private and not there.private:
        raise GlowkitError(
            f"{address} is there already, and public, so that nothing was uploaded: make it private"
            " in its settings on the Hub, or push to another name"
        )
    held = {each.rfilename for each in there.siblings or ()} - _OF_THE_HUB
    if held and "glowkit" not in (there.library_name, *(there.tags or ())):
        raise GlowkitError(
            f"{address} is there already, and no model of glowkit, so that nothing was uploaded;"
            " push to another name"
        )
    operations = [add("README.md", card.encode())]
    operations += [add(there_as, str(path)) for there_as, path in files.items()]
    with _sentences(address):
        api.create_commit(name, operations, commit_message="Upload a glowkit model")
    return url


def _only(patterns: Sequence[str]) -> Mapping[str, Any]:
    return {"allow_patterns": list(patterns), "library_name": "glowkit"}


def _library(address: str) -> Any:
    """huggingface_hub, which takes a while to import."""
    try:
        import huggingface_hub
    except ImportError:
        raise GlowkitError(
            f"{address} needs the package huggingface_hub, which is not installed:"
            " pip install 'glowkit[hf]'"
        ) from None
    return huggingface_hub


def _check_ours(address: Address, path: Path) -> None:
    """Refuse what is not ours before its weights, which may be large, are fetched."""
    try:
        about = parse_json(read_small(path)) if path.is_file() else None
    except ValueError:
        about = None
    if not isinstance(about, dict) or about.get("format") != "glowkit":
        raise GlowkitError(
            f"{address} is not a glowkit model: it has no config.json of one; {DATA_TOO}"
        )


@contextmanager
def _sentences(address: Address) -> Iterator[None]:
    """Turns what the Hub refuses into one sentence that says what to do."""
    from huggingface_hub import errors

    log_in = "log in with: hf auth login"
    try:
        yield
    except errors.GatedRepoError as error:
        raise GlowkitError(
            f"{address} is gated: accept its conditions on its page on the Hub, and {log_in}"
        ) from error
    except errors.RepositoryNotFoundError as error:
        raise GlowkitError(
            f"the Hub has no model {address.name} that you may see: check the name, or {log_in};"
            f" {DATA_TOO}"
        ) from error
    except errors.RevisionNotFoundError as error:
        raise GlowkitError(
            f"{address.name} has no revision {shown(address.revision)}; give a branch, a tag or a"
            " commit"
        ) from error
    except (errors.HfHubHTTPError, errors.LocalTokenNotFoundError) as error:
        response = getattr(error, "response", None)
        if response is None or response.status_code in (401, 403):
            raise GlowkitError(f"the Hub does not let you use {address}: {log_in}") from error
        raise GlowkitError(f"the Hub refused {address}: {_line(error)}") from error
    except ValueError as error:  # a name, or the head of a card, that the Hub does not take
        raise GlowkitError(f"the Hub does not take {address}: {_line(error)}") from error
    except OSError as error:
        if error.errno is not None:  # a full disk, and the like, has a sentence of its own
            raise
        raise _unreachable(address, error) from error
    except Exception as error:
        # Of the library for HTTP below, which has changed once and may again.
        if type(error).__module__.partition(".")[0] in _OF_THE_NETWORK:
            raise _unreachable(address, error) from error
        raise


def _unreachable(address: Address, error: Exception) -> GlowkitError:
    return GlowkitError(
        f"{address} cannot be reached ({_line(error)}): check the network, or give a local folder"
    )


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__

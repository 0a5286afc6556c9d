"""What a tab shows, as words: the command that makes the same picture, and the page's address.

The address names things as the command does, such as ?tab=edit&image=test:3&attribute=smiling=0.6,
so that a link can be sent to a colleague who has the same run, or typed.
"""

import shlex
from collections.abc import Mapping, Sequence
from typing import NamedTuple
from urllib.parse import parse_qs, urlencode

from glowkit.app.answers import IN_TURN, LOOP_FRAMES
from glowkit.app.chosen import Chosen
from glowkit.app.exhibit import Exhibit
from glowkit.system.errors import GlowkitError

MOST_DRAWING = 4000  # characters of a drawing in an address, which servers and mails cut off
CORNERS = ("top left", "top right", "bottom left", "bottom right")


class Said(NamedTuple):
    """line: the command of a tab. query: its state, as it stands in the page's address."""

    line: str
    query: str


def said_of_edit(exhibit: Exhibit, chosen: Chosen, amounts: Mapping[str, float]) -> Said:
    """Of an edit; one by nothing is a reconstruction."""
    moved = [f"{name}={amount:g}" for name, amount in amounts.items() if amount]
    words = ["edit" if moved else "reconstruct", exhibit.run, chosen.name]
    words += [word for text in moved for word in ("--attribute", text)]
    query = [("image", chosen.name), *(("attribute", text) for text in moved)]
    return Said(_line(exhibit, words + _class_of([chosen])), _query("edit", query))


def said_of_drawing(exhibit: Exhibit, chosen: Chosen, under: Chosen, drawing: str | None) -> Said:
    """Of an image beside its reconstruction.

    drawing: the PNG as an address, if it was drawn; under: what on, or else the image itself.
    """
    words = ["reconstruct", exhibit.run, chosen.name, *_class_of([chosen])]
    # A drawing has the class of what it was drawn on; if that has none, the drawing is all.
    needed = drawing is None or under.context is not None or under.name in exhibit.names
    kept = [("image", under.name)] if needed else []
    if drawing is not None and len(drawing) <= MOST_DRAWING:
        kept.append(("drawing", drawing))
    return Said(_line(exhibit, words), _query("draw", kept))


def said_of_place(exhibit: Exhibit, corners: Sequence[Chosen], x: float, y: float) -> Said:
    """Of a place between four images."""
    names = [corner.name for corner in corners]
    at = f"{x:g},{y:g}"
    words = ["interpolate", exhibit.run, *names, "--grid", "--path", "linear", "--at", at]
    query = [("at", at), *(("image", name) for name in names)]
    return Said(_line_of(exhibit, words, corners), _query("between", query))


def loop_line(exhibit: Exhibit, corners: Sequence[Chosen]) -> str:
    """The command that makes the animation around four images."""
    names = [corners[number].name for number in (0, 1, 3, 2, 0)]
    words = ["interpolate", exhibit.run, *names, "--count", str(LOOP_FRAMES), "--path", "linear"]
    return _line_of(exhibit, words, corners)


def said_of_samples(
    exhibit: Exhibit, count: int, heats: Sequence[float], seed: int, label: str
) -> Said:
    """Of samples, a row for each temperature."""
    temperatures = ",".join(f"{heat:g}" for heat in heats)
    of_class = [] if label == IN_TURN else ["--class", label]
    words = ["sample", exhibit.run, "--temperature", temperatures, "--count", str(count)]
    query = [
        ("low", f"{heats[0]:g}"),
        ("high", f"{heats[-1]:g}"),
        ("rows", str(len(heats))),
        ("count", str(count)),
        ("seed", str(seed)),
        *([("class", label)] if of_class else []),
    ]
    words += ["--seed", str(seed), *of_class]
    return Said(_line(exhibit, words), _query("sample", query))


class Asked:
    """What an address asks for; whatever it asks that is not there is a sentence."""

    def __init__(self, query: str) -> None:
        self._values = parse_qs(query.removeprefix("?")[: 2 * MOST_DRAWING])

    @property
    def tab(self) -> str:
        return self.one("tab", "")

    def all(self, name: str) -> list[str]:
        return self._values.get(name, [])

    def one(self, name: str, default: str) -> str:
        return self.all(name)[-1] if self.all(name) else default

    def number(self, name: str, default: float, low: float, high: float) -> float:
        """Raises GlowkitError for what is no number, or one out of range."""
        return number_in(self.one(name, f"{default:.10g}"), name, low, high)

    def rows(self, exhibit: Exhibit) -> list[int]:
        """The images named. Raises GlowkitError for one that is not shown here."""
        return [_row(exhibit, name) for name in self.all("image")]

    def amounts(self, names: Sequence[str], most: float) -> dict[str, float]:
        """How much of each attribute; raises GlowkitError for an unknown one."""
        found = {}
        for text in self.all("attribute"):
            name, _, amount = text.rpartition("=")
            if name not in names:
                raise GlowkitError(f"the address asks for {text[:60]!r}, of which nothing is known")
            found[name] = number_in(amount, f"amount of {name}", -most, most)
        return found


def number_in(text: str, name: str, low: float, high: float) -> float:
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if not low <= value <= high:
        raise GlowkitError(
            f"the address has {text[:40]!r} as {name}, which must be a number from {low:g} to"
            f" {high:g}"
        )
    return value


def _row(exhibit: Exhibit, name: str) -> int:
    if name in exhibit.names:
        return exhibit.names.index(name)
    raise GlowkitError(
        f"the address asks for {name[:60]!r}, which is none of the images here; upload it again"
    )


def _class_of(chosen: Sequence[Chosen]) -> list[str]:
    labels = [each.label for each in chosen if each.label is not None]
    return ["--class", labels[0]] if labels else []


def _line_of(exhibit: Exhibit, words: Sequence[str], chosen: Sequence[Chosen]) -> str:
    """A command has one class for all files; images of the data bring theirs."""
    if len({each.label for each in chosen if each.label is not None}) > 1:
        return "There is no such command, for it takes files of one class only."
    return _line(exhibit, [*words, *_class_of(chosen)])


def _line(exhibit: Exhibit, words: Sequence[str]) -> str:
    """A model of one's own is opened with the file that defines it."""
    own = ["--model", exhibit.own] if exhibit.own else []
    return shlex.join(["glowkit", *words, *own])


def _query(tab: str, values: Sequence[tuple[str, str]]) -> str:
    return urlencode([("tab", tab), *values], safe=":,=;/")

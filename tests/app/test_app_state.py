"""The command of each tab makes the same picture, and the address sets the page as it was."""

import base64
import shlex
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from PIL import Image

from glowkit import GlowkitError
from glowkit.app.answers import IN_TURN, drawing_of, from_canvas, looped, wanted
from glowkit.app.chosen import between, draw, edit, pick
from glowkit.app.exhibit import Exhibit
from glowkit.app.heat import DRAWN, MOST, measured_heat
from glowkit.app.opening import opening, ranked
from glowkit.app.state import (
    MOST_DRAWING,
    Asked,
    loop_line,
    said_of_drawing,
    said_of_edit,
    said_of_place,
    said_of_samples,
)
from glowkit.cli import main
from glowkit.pictures.sheet import image_sheet, to_pil


@pytest.fixture
def of_files(digits: Exhibit, model: Path, tmp_path: Path) -> Exhibit:
    """The digits as a model folder has them, its images as files that the page saved."""
    names = []
    for row, image in enumerate(digits.images[:4]):
        to_pil(image, digits.levels).save(tmp_path / f"image {row}.png")
        names.append(str(tmp_path / f"image {row}.png"))
    return replace(digits, run=str(model), images=digits.images[:4], names=tuple(names))


def ran(line: str, out: Path) -> bytes:
    """The pixels of the picture that a command writes."""
    program, *words = shlex.split(line)
    assert program == "glowkit"
    with pytest.raises(SystemExit) as stopped:
        main([*words, "--out", str(out)])
    assert not stopped.value.code
    with Image.open(out) as drawn:
        return drawn.tobytes()


def test_a_line_of_an_edit_makes_the_same(of_files: Exhibit, tmp_path: Path) -> None:
    chosen, amounts = pick(of_files, 1), {"left": 0.35, "right": 0.0}
    line, query = said_of_edit(of_files, chosen, amounts)
    assert "--attribute left=0.35" in line
    assert "right" not in line + query
    attributes = of_files.attributes
    assert attributes
    after = edit(of_files, chosen, attributes, amounts)[0]
    rows = [(Path(chosen.name).name, torch.cat([chosen.image, after]))]
    expected = image_sheet(rows, of_files.levels, headings=["before", "after"])
    assert ran(line, tmp_path / "o.png") == expected.tobytes()


def test_a_line_of_samples_makes_the_same(of_files: Exhibit, tmp_path: Path) -> None:
    asked = wanted(of_files, 3, 0.3, 0.8, 3, 11, IN_TURN)
    line, _ = said_of_samples(of_files, asked.count, asked.heats, asked.seed, IN_TURN)
    rows = [(f"temperature {heat:g}", draw(of_files, 3, heat, 11)[0]) for heat in asked.heats]
    expected = image_sheet(rows, of_files.levels)
    assert ran(line, tmp_path / "o.png") == expected.tobytes()


def test_lines_of_the_square_make_the_same(of_files: Exhibit, tmp_path: Path) -> None:
    corners = [pick(of_files, row) for row in range(4)]
    line, _ = said_of_place(of_files, corners, 0.3, 0.85)
    image, _ = between(of_files, corners, 0.3, 0.85)
    expected = image_sheet([("", image)], of_files.levels)
    assert ran(line, tmp_path / "o.png") == expected.tobytes()
    ran(loop_line(of_files, corners), tmp_path / "loop.png")
    played = base64.b64decode(looped(of_files, corners).split("base64,")[1].split('"')[0])
    assert played == (tmp_path / "loop.gif").read_bytes()


@pytest.mark.parametrize("words", ["1,2", "half", "0.5", "0.5,nan", "0,0,0"])
def test_a_place_that_is_none_is_a_sentence(
    model: Path, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        main(["interpolate", str(model), "--random", "4", "--grid", "--at", words])
    assert "a place is given as X,Y" in capsys.readouterr().err


def test_a_place_without_a_square_is_a_sentence(
    model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        main(["interpolate", str(model), "--random", "4", "--at", "0,0"])
    assert "add --grid" in capsys.readouterr().err


def test_the_address_says_what_the_tab_shows(digits: Exhibit) -> None:
    _, query = said_of_edit(digits, pick(digits, 3), {"left": -0.4, "right": 0.0})
    asked = Asked("?" + query)
    assert asked.tab == "edit"
    assert asked.rows(digits) == [3]
    assert asked.amounts(["left", "right"], 1.5) == {"left": -0.4}
    _, query = said_of_place(digits, [pick(digits, row) for row in (3, 1, 2, 0)], 0.25, 1.0)
    assert Asked(query).rows(digits) == [3, 1, 2, 0]
    assert Asked(query).one("at", "") == "0.25,1"
    under = pick(digits, 0)
    drawing = drawing_of(digits, pick(digits, 5))
    drawn = from_canvas(digits, under, drawing)
    _, query = said_of_drawing(digits, drawn, under, drawing)
    again = from_canvas(digits, under, Asked(query).one("drawing", ""))
    assert torch.equal(again.image, digits.images[5:6])
    _, query = said_of_drawing(digits, drawn, under, "x" * (MOST_DRAWING + 1))
    assert Asked(query).all("drawing") == []


def test_a_drawing_keeps_the_class_of_what_it_was_drawn_on(exhibit: Exhibit) -> None:
    under = pick(exhibit, 4)  # of class 1, where there are classes
    drawing = drawing_of(exhibit, pick(exhibit, 5))
    drawn = from_canvas(exhibit, under, drawing)
    asked = Asked(said_of_drawing(exhibit, drawn, under, drawing).query)
    assert asked.rows(exhibit) == [4]
    again = from_canvas(exhibit, pick(exhibit, asked.rows(exhibit)[0]), asked.one("drawing", ""))
    assert torch.equal(again.image, drawn.image)
    assert torch.equal(again.latents, drawn.latents)
    sent = replace(under, name="upload.png")
    kept = Asked(said_of_drawing(exhibit, drawn, sent, drawing).query).all("image")
    assert kept == (["upload.png"] if exhibit.class_names else [])


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("image=test:77", "none of the images here"),
        ("attribute=up=1", "of which nothing is known"),
        ("attribute=left=9", "must be a number from -1.5 to 1.5"),
        ("attribute=left", "of which nothing is known"),
        ("low=hot", "must be a number"),
        ("low=nan", "must be a number"),
    ],
)
def test_an_address_that_asks_for_nothing_is_a_sentence(
    digits: Exhibit, query: str, said: str
) -> None:
    asked = Asked(query)
    with pytest.raises(GlowkitError, match=said):
        (asked.rows(digits), asked.amounts(["left"], 1.5), asked.number("low", 0.5, 0, 2))


def test_files_of_two_classes_have_no_line(digits: Exhibit) -> None:
    corners = [replace(pick(digits, row), label="one") for row in range(4)]
    assert "--class one" in said_of_place(digits, corners, 0, 0).line
    corners[1] = replace(corners[1], label="two")
    assert "no such command" in said_of_place(digits, corners, 0, 0).line


def test_lines_name_the_file_of_a_model_of_ones_own(digits: Exhibit) -> None:
    own = replace(digits, own="my model.py")
    image = pick(own, 0)
    lines = [
        said_of_edit(own, image, {"left": 0.5}).line,
        said_of_drawing(own, image, image, None).line,
        said_of_place(own, [image] * 4, 0, 0).line,
        loop_line(own, [image] * 4),
        said_of_samples(own, 2, (0.5,), 0, IN_TURN).line,
    ]
    assert all(line.endswith(" --model 'my model.py'") for line in lines)
    assert "--model" not in said_of_edit(digits, image, {"left": 0.5}).line


def test_trusted_attributes_come_first(digits: Exhibit) -> None:
    attributes = digits.attributes
    assert attributes
    wide = replace(attributes, positives=(30, 30), negatives=(30, 30))
    assert ranked(wide) == (["left"], ["right"])
    assert ranked(attributes) == ([], ["left", "right"])  # ten images each say nothing


def test_the_page_opens_on_what_its_first_image_lacks(digits: Exhibit) -> None:
    attributes = digits.attributes
    assert attributes
    latents = torch.cat([pick(digits, row).latents for row in range(20)])
    away = latents.mean(0) - latents[0]
    lacked = replace(attributes, directions=torch.stack([-away, away]))
    assert opening(digits, lacked, ["left", "right"]) == "right"
    assert (
        opening(digits, replace(lacked, directions=-lacked.directions), ["left", "right"]) == "left"
    )
    assert opening(digits, lacked, ["left"]) == "left"


def test_the_heat_is_measured(digits: Exhibit, monkeypatch: pytest.MonkeyPatch) -> None:
    def breaks(limit: float, share: float) -> None:
        def sampled(_: object, count: int, heat: float, *__: object) -> tuple[None, torch.Tensor]:
            broken = torch.arange(count) < (share * count if heat > limit else 0)
            return None, broken

        monkeypatch.setattr("glowkit.app.heat.sampled", sampled)

    breaks(0.9, 0.02)
    heat = measured_heat(digits.model, 0)
    assert heat.most == 0.9
    assert f"above, more than 1 % of {DRAWN} samples" in heat.note
    breaks(0.9, 0.0)
    assert measured_heat(digits.model, 0).most == MOST
    breaks(-1, 0.5)
    assert "at every temperature" in measured_heat(digits.model, 0).note
    heat = measured_heat(digits.model, 0, seconds=-1)
    assert heat.most == 1.0
    assert "too slowly to try all temperatures: none is tried" in heat.note


@pytest.mark.parametrize(
    ("limit", "batches", "most", "said"),
    [
        (-1.0, 1, 1.0, "from 2.00 on more than 1 % of samples break"),
        (-1.0, 2, 0.95, "from 1.00 on more than 1 % of samples break"),
        (-1.0, 3, 0.45, "from 0.50 on more than 1 % of samples break"),
        (1.2, 7, 1.0, "up to 1.00 at most 1 % of 300 samples break, and from 2.00 on"),
    ],
)
def test_no_heat_is_offered_that_broke_before_time_was_out(
    digits: Exhibit,
    monkeypatch: pytest.MonkeyPatch,
    limit: float,
    batches: int,
    most: float,
    said: str,
) -> None:
    drawn = []

    def sampled(_: object, count: int, heat: float, *__: object) -> tuple[None, torch.Tensor]:
        drawn.append(heat)
        return None, torch.full((count,), heat > limit)

    monkeypatch.setattr("glowkit.app.heat.sampled", sampled)
    # A clock that strikes when so many batches are drawn.
    monkeypatch.setattr("glowkit.app.heat.time.monotonic", lambda: float(len(drawn) >= batches))
    heat = measured_heat(digits.model, 0, seconds=0.5)
    assert heat.most == most
    assert said in heat.note

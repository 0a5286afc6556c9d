"""The page in a file: what it holds, and what a browser without a network makes of it."""

import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from glowkit.app.exhibit import Exhibit
from glowkit.app.export import page_of, write_page
from glowkit.app.heat import Heat
from glowkit.cli import main
from glowkit.core import MIDPOINT
from glowkit.tasks import join

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
in_a_browser = pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium on this machine")
PATIENCE = 60_000  # milliseconds
READY = "body[data-busy=false]"
ASK = "([key, question]) => new Promise(answered => ask(key, question, answered))"


def about(page: str) -> dict[str, Any]:
    inner = page.partition('id="about">')[2].partition("</script>")[0]
    found: dict[str, Any] = json.loads(inner)
    return found


def test_a_page_holds_its_exhibit_and_names_no_address(exhibit: Exhibit) -> None:
    page = page_of(exhibit)
    found = about(page)
    assert found["images"] == exhibit.images.flatten(1).tolist()
    assert found["names"] == list(exhibit.class_names)
    assert [each["name"] for each in found["attributes"]] == ["left", "right"]
    assert ("all in turn" in page) == bool(exhibit.class_names)
    assert "20 images of noise take" in page
    assert "http:" not in page
    assert "https:" not in page


@pytest.mark.parametrize(("borne", "most"), [(2.0, 1.5), (0.85, 0.85)])
def test_a_page_offers_no_more_heat_than_the_model_bears(
    digits: Exhibit, borne: float, most: float
) -> None:
    page = page_of(replace(digits, heat=Heat(borne, "Temperatures end here.")))
    assert about(page)["most"] == most
    assert ("Temperatures end here." in page) == (borne < 1.5)


def test_a_page_says_the_command_that_made_it_if_one_did(digits: Exhibit) -> None:
    assert "<code>glowkit app &#39;a b&#39;</code>" in page_of(digits, "glowkit app 'a b'")
    assert "<code>" not in page_of(digits)


def run(*arguments: object) -> int:
    with pytest.raises(SystemExit) as stopped:
        main([str(argument) for argument in arguments])
    return int(stopped.value.code or 0)


def test_the_command_writes_a_page(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "page.html"
    assert run("app", model, "--export", out, "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert told == {"run": str(model), "path": str(out), "bytes": out.stat().st_size}
    assert len(about(out.read_text())["images"]) == 16
    line = f"glowkit app {model} --export {out} --json"
    assert f"<code>{line}</code>" in out.read_text()
    assert run("app", model, "--export", out, "--port", "80", "--host", "0.0.0.0") == 2
    assert "leave out --host, --port" in capsys.readouterr().err
    assert run("app", model, "--export", tmp_path / "page.pdf") == 2
    assert "give --export a name in .html, not page.pdf" in capsys.readouterr().err


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    sync_api = pytest.importorskip(
        "playwright.sync_api", reason="needs Playwright: pip install 'glowkit[browser]'"
    )
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def page(browser: Any, digits: Exhibit, tmp_path: Path) -> Iterator[Any]:
    path = tmp_path / "digits.html"
    write_page(digits, path)
    page = browser.new_page(viewport={"width": 390, "height": 844})
    page.set_default_timeout(PATIENCE)
    wrong: list[str] = []
    page.on("request", lambda request: wrong.append(request.url))
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("console", lambda message: wrong.append(message.text))
    page.goto(path.as_uri())
    page.wait_for_selector(READY)
    yield page
    assert [each for each in wrong if not each.startswith((path.as_uri(), "blob:"))] == []
    page.close()


def names(page: Any, where: str) -> list[str]:
    """What the pictures are called for those who do not see them, with their bits/dim."""
    return [each.get_attribute("aria-label") for each in page.locator(f"{where} canvas").all()]


@in_a_browser
def test_the_worker_computes_what_pytorch_does(page: Any, digits: Exhibit) -> None:
    model, images = digits.model, digits.images[:2]
    with torch.no_grad():
        noises, log_p = model.encode(images, None, MIDPOINT)
        v, _ = model.density.decode(noises)  # type: ignore[operator, union-attr]
    for i, latents in enumerate(join(noises)):
        question = {"what": "decode", "latents": latents.tolist(), "label": 0}
        found = torch.tensor(page.evaluate(ASK, ["test", question])["v"])
        assert (found - v[i].flatten()).abs().max() * digits.levels < 1e-3
        question = {"what": "logProb", "image": images[i].flatten().tolist(), "u": [0.5] * 64}
        nats = page.evaluate(ASK, ["test", question])["logP"]
        assert abs(nats - float(log_p[i])) / 64 < 1e-4


@in_a_browser
def test_pictures_follow_the_keyboard(page: Any) -> None:
    samples = names(page, "#samples")
    assert len(samples) == 12
    assert all("bits/dim" in name for name in samples)
    page.get_by_label("Temperature").press("End")
    page.wait_for_selector(READY)
    assert names(page, "#samples") != samples
    page.get_by_label("Temperature").press("Home")
    page.wait_for_selector(READY)
    coldest = {name.partition(": ")[2] for name in names(page, "#samples")}
    assert len(coldest) == 1  # at temperature 0 all are one image
    page.get_by_label("Seed", exact=True).fill("7")
    first, _, second = names(page, "#ends")
    page.get_by_label("From the first to the second").press("Home")
    page.wait_for_selector(READY)
    assert names(page, "#ends")[1] == first.replace("first", "between")
    page.locator("#choices-1").get_by_label("image 2", exact=True).press("ArrowRight")
    page.wait_for_selector(READY)
    assert names(page, "#ends")[2] != second
    assert names(page, "#edited")[0].replace("before", "after") == names(page, "#edited")[1]
    page.get_by_label("left (0.90)").press("End")
    page.wait_for_selector(READY)
    assert names(page, "#edited")[0].replace("before", "after") != names(page, "#edited")[1]
    page.get_by_role("button", name="All to 0").click()
    page.wait_for_selector(READY)
    assert names(page, "#edited")[0].replace("before", "after") == names(page, "#edited")[1]
    assert page.evaluate("document.documentElement.scrollWidth") == 390


@in_a_browser
def test_a_seed_that_is_none_is_said(page: Any) -> None:
    samples, seed = names(page, "#samples"), page.get_by_label("Seed", exact=True)
    for wrong in ("-1", "1.7", "4294967296", ""):
        seed.fill(wrong)
        page.get_by_text("A seed is a whole number from 0 to 4294967295").wait_for()
        page.wait_for_selector(READY)
        assert names(page, "#samples") == samples
    seed.fill("4294967295")
    page.locator("#seed-wrong").wait_for(state="hidden")
    page.wait_for_selector(READY)
    assert names(page, "#samples") != samples


@in_a_browser
def test_what_is_broken_shows_its_hatching(page: Any) -> None:
    alpha = page.evaluate(
        """() => [true, false].map(whole => {
          const image = new Array(width * height * channels).fill(5);
          picture(byId("ends"), "tried")({ image, whole, bits: NaN });
          const canvas = byId("ends").lastChild.querySelector("canvas");
          const style = getComputedStyle(canvas).backgroundImage;
          return [canvas.getContext("2d").getImageData(0, 0, 1, 1).data[3], style !== "none"];
        })"""
    )
    assert alpha == [[255, False], [0, True]]

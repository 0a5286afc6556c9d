"""The page in a real browser: what a person does, and that the pictures follow."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
sync_api = pytest.importorskip(
    "playwright.sync_api", reason="needs Playwright: pip install 'glowkit[browser]'"
)
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium on this machine")
PATIENCE = 120_000  # milliseconds


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def page(browser: Any, address: str) -> Iterator[Any]:
    page = browser.new_page(viewport={"width": 1100, "height": 900})
    page.set_default_timeout(PATIENCE)
    elsewhere: list[str] = []
    page.on("request", lambda request: elsewhere.append(request.url))
    page.goto(address)
    page.wait_for_selector("#samples img")
    yield page
    assert [url for url in elsewhere if not url.startswith((address, "data:"))] == []
    page.close()


def picture(page: Any, where: str, number: int = 0) -> str:
    return str(page.locator(f"{where} img").nth(number).get_attribute("src"))


def changed(page: Any, where: str, number: int, before: str) -> str:
    """The picture, once it is another one."""
    page.wait_for_function(
        "([where, number, before]) => {"
        " const image = document.querySelectorAll(where + ' img')[number];"
        " return image && image.src !== before }",
        arg=[where, number, before],
        timeout=PATIENCE,
    )
    return picture(page, where, number)


def drag(page: Any, slider: Any) -> None:
    """Drag a slider's handle from its middle to nine tenths with the mouse."""
    box = slider.bounding_box()
    y = box["y"] + box["height"] / 2
    page.mouse.move(box["x"] + box["width"] / 2, y)
    page.mouse.down()
    for tenth in (6, 7, 8, 9):
        page.mouse.move(box["x"] + box["width"] * tenth / 10, y)
    page.mouse.up()


def test_samples_follow_the_temperature(page: Any) -> None:
    before = picture(page, "#samples")
    drag(page, page.get_by_role("slider").first)
    after = changed(page, "#samples", 0, before)
    with page.expect_download() as download:
        page.locator("#samples figure a").first.click()
    with Image.open(download.value.path()) as saved:
        assert saved.size == (8, 8)
    assert after.startswith("data:image/png")


def test_uploads_and_what_is_wrong_with_them(page: Any, tmp_path: Path) -> None:
    Image.radial_gradient("L").save(tmp_path / "good.png")
    (tmp_path / "bad.png").write_text("not an image")
    page.get_by_role("tab", name="An image").click()
    before = picture(page, "#image")
    page.locator("#image-picks button img").nth(2).click()
    second = changed(page, "#image", 0, before)
    chooser = page.locator("input[type=file]").first
    chooser.set_input_files(tmp_path / "good.png")
    third = changed(page, "#image", 0, second)
    chooser.set_input_files(tmp_path / "bad.png")
    page.get_by_text("bad.png cannot be read as an image").wait_for()
    assert picture(page, "#image") == third


def test_the_picture_follows_an_attribute(page: Any) -> None:
    page.get_by_role("tab", name="Attributes").click()
    before, after = (picture(page, "#edit", number) for number in range(2))
    assert before == after
    drag(page, page.locator("#amounts input[type=range]").first)
    changed(page, "#edit", 1, after)
    assert picture(page, "#edit", 0) == before


def test_the_picture_between_two_follows_the_slider(page: Any) -> None:
    page.get_by_role("tab", name="Between two images").click()
    first, before, second = (picture(page, "#between", number) for number in range(3))
    drag(page, page.locator("#place input[type=range]"))
    after = changed(page, "#between", 1, before)
    assert len({first, before, second, after}) == 4
    assert picture(page, "#between", 0) == first

"""A picture of the top of a page that `glowkit app RUN --export` wrote, once it has computed all.

glowkit app examples/digits --export digits.html
python examples/screenshot.py digits.html docs/images/app-export.png 1280 640

Needs pip install 'glowkit[browser]', and a Chromium of the system.
"""

import shutil
import sys
from pathlib import Path

from playwright.sync_api import sync_playwright


def main(page: str, picture: str, width: str, height: str) -> None:
    with sync_playwright() as playwright:
        chromium = shutil.which("chromium") or shutil.which("chromium-browser")
        browser = playwright.chromium.launch(executable_path=chromium)
        shown = browser.new_page(viewport={"width": int(width), "height": int(height)})
        shown.goto(Path(page).resolve().as_uri())
        shown.wait_for_selector("body[data-busy=false]")
        shown.screenshot(path=picture)
        browser.close()


if __name__ == "__main__":
    main(*sys.argv[1:])

"""The pictures of docs/app.md: the page of a run in a headless Chromium, into a folder.

python examples/app_pictures.py examples/digits docs/images
"""

import shutil
import subprocess
import sys
from pathlib import Path

from playwright.sync_api import sync_playwright

# File, width, height, theme, address, and how far the page is scrolled.
PICTURES = (
    ("app-edit", 1280, 800, "light", "", 0),
    ("app-draw", 1280, 800, "light", "?tab=draw&image=test:3", 0),
    ("app-between", 1280, 800, "light", "?tab=between&at=0.35,0.6", 0),
    ("app-sample", 1280, 800, "light", "?tab=sample&low=0.4&high=1&rows=4&count=10", 0),
    ("app-phone", 390, 844, "dark", "", 420),
)


def main(run: str, folder: str) -> None:
    command = [sys.executable, "-m", "glowkit", "app", run]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as served:
        assert served.stdout
        try:
            for line in served.stdout:
                if " is shown at " in line:
                    photograph(line.partition(" is shown at ")[2].split()[0], Path(folder))
                    return
            raise SystemExit(f"glowkit app {run} showed no page")
        finally:
            served.terminate()  # for which the end of `with` waits


def photograph(address: str, folder: Path) -> None:
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        for name, width, height, theme, query, scrolled in PICTURES:
            page = browser.new_page(viewport={"width": width, "height": height}, color_scheme=theme)
            page.goto(address + query, timeout=120_000)
            page.locator(".prose img >> visible=true").first.wait_for(timeout=120_000)
            page.wait_for_timeout(3000)  # what the address asks for is answered
            page.mouse.wheel(0, scrolled)
            page.wait_for_timeout(1000)
            page.screenshot(path=folder / f"{name}.png")
            page.close()
        browser.close()


if __name__ == "__main__":
    main(*sys.argv[1:])

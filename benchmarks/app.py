"""How soon the page of `glowkit app` follows a slider, in a real browser."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from statistics import median

from glowkit import GlowkitError

# From a slider's own event to another picture in the page: the request, the model, the answer.
MOVE = """async ([slider, picture, rounds]) => {
  const shown = () => document.querySelector(picture).src, times = [];
  const input = document.querySelector(slider);
  const low = Number(input.min), high = Number(input.max);
  for (let round = 0; round < rounds; round++) {
    const before = shown(), start = performance.now();
    input.value = low + (high - low) * (0.3 + 0.4 * ((round * 0.618) % 1));
    input.dispatchEvent(new Event('input', { bubbles: true }));
    while (shown() === before && performance.now() - start < 10000)
      await new Promise(resolve => setTimeout(resolve, 1));
    times.push(performance.now() - start);
    await new Promise(resolve => setTimeout(resolve, 200));
  }
  return times;
}"""
# Tab, slider and the picture that follows it; tabs that a model does not have are left out.
MOVES = (
    ("Edit", "#amounts input[type=range]", "#edit img"),
    ("Between", "#across input[type=range]", "#between .field img"),
    ("Sample", "#low input[type=range]", "#samples img"),
)


def time_page(run: str, rounds: int, threads: int) -> dict[str, dict[str, float]]:
    """Median and longest milliseconds from a move to its picture, for each tab with sliders."""
    try:
        from playwright.sync_api import sync_playwright
    except ImportError as error:
        raise GlowkitError("this needs Playwright: pip install 'glowkit[browser]'") from error
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        raise GlowkitError("there is no Chromium here; install your system's chromium")
    found = {}
    with _served(run, threads) as address, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1280, "height": 800})
        page.goto(address)
        page.wait_for_selector("[role=tab]")
        for tab, slider, picture in MOVES:
            button = page.get_by_role("tab", name=tab, exact=True).locator("visible=true")
            if not button.count():
                continue
            button.click()
            page.wait_for_selector(picture)
            page.evaluate(MOVE, [slider, picture, 3])  # the first moves load and compile
            times = page.evaluate(MOVE, [slider, picture, rounds])
            found[tab] = {"median": median(times), "longest": max(times)}
        browser.close()
    return found


@contextmanager
def _served(run: str, threads: int) -> Iterator[str]:
    command = [sys.executable, "-m", "glowkit", "app", run]
    environment = os.environ | {"OMP_NUM_THREADS": str(threads)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stdout is not None
        try:
            for line in process.stdout:
                if " is shown at " in line:
                    yield line.partition(" is shown at ")[2].split()[0]
                    return
            raise GlowkitError(f"glowkit app {run} showed no page")
        finally:
            process.terminate()

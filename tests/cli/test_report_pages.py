"""Reports in a browser: nothing for axe-core to complain of, nothing wider than a phone.

npm install --prefix FOLDER axe-core puppeteer-core
NODE_PATH=FOLDER/node_modules pytest -m slow tests/cli/test_report_pages.py
"""

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from cli.conftest import Cli

SCRIPT = Path(__file__).parent / "axe.js"
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("chrome")


def found_by_axe(page: Path) -> list[dict[str, object]]:
    """What is wrong with a page at three sizes, light and dark."""
    if CHROMIUM is None or shutil.which("node") is None:
        pytest.skip("chromium or node is missing")
    known = ["node", "-e", "require.resolve('axe-core'); require.resolve('puppeteer-core')"]
    if subprocess.run(known, env=os.environ, capture_output=True).returncode:
        pytest.skip("axe-core or puppeteer-core is missing below $NODE_PATH")
    line = ["node", str(SCRIPT), str(page), CHROMIUM]
    done = subprocess.run(line, capture_output=True, text=True, check=True, timeout=600)
    found: list[dict[str, object]] = json.loads(done.stdout)
    return found


@pytest.mark.slow
def test_the_report_of_images_is_accessible(cli: Cli, run: Path) -> None:
    assert cli("report", run).code == 0
    assert found_by_axe(run / "report.html") == []


@pytest.mark.slow
def test_the_report_of_points_is_accessible(cli: Cli, tmp_path: Path) -> None:
    points = tmp_path / "points"
    assert cli("train", "points:moons", "--minutes", 0.02, "--out", points).code == 0
    assert found_by_axe(points / "report.html") == []


@pytest.mark.slow
def test_axe_finds_what_is_wrong(tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    page.write_text("<p style='color: #bbb; background: #fff'>pale<img src=''>")
    assert {"color-contrast", "image-alt"} <= {str(one["id"]) for one in found_by_axe(page)}

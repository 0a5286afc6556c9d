"""What the README shows in Python runs as it stands, and its links lead somewhere."""

import re
from pathlib import Path

import pytest

from glowkit.cli.main import COMMANDS

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]


def blocks(page: Path) -> list[str]:
    return re.findall(r"```python\n(.*?)```", page.read_text(), flags=re.DOTALL)


# sbi, an extra, takes half a minute to import and train, and warns that so little is not enough;
# ONNX, another, takes almost as long to write.
SLOW = (pytest.mark.slow, pytest.mark.filterwarnings("ignore"))
CODE = [
    pytest.param(page, code, marks=SLOW if re.search("from sbi|onnxruntime", code) else ())
    for page in PAGES
    for code in blocks(page)
]


@pytest.mark.parametrize(("page", "code"), CODE, ids=lambda value: getattr(value, "name", "code"))
def test_python_runs(
    page: Path, code: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    if "from sbi" in code:
        pytest.importorskip("sbi")
    if "onnxruntime" in code:
        pytest.importorskip("onnxruntime", reason="needs ONNX: pip install 'glowkit[export]'")
        pytest.importorskip("onnxscript", reason="needs ONNX: pip install 'glowkit[export]'")
    exec(compile(code, page.name, "exec"), {"__name__": "readme"})


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    for link in re.findall(r"\]\(([^)]+)\)", page.read_text()):
        target = link.partition("#")[0]
        if target and "://" not in target:
            assert (page.parent / target).exists(), link


def test_the_readme_shows_a_picture_on_its_first_screen() -> None:
    first_screen = (ROOT / "README.md").read_text().splitlines()[:25]
    assert any(line.startswith("![") for line in first_screen)


def test_the_readme_names_every_command() -> None:
    rows = re.findall(r"^\| (`.*?) \|", (ROOT / "README.md").read_text(), flags=re.MULTILINE)
    named = {name for row in rows for name in re.findall(r"`([a-z-]+)", row)}
    assert named == {command.__name__.rstrip("_") for command in COMMANDS} | {"lossy"}

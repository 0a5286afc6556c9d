"""What a release says of itself is the same everywhere."""

import re
from pathlib import Path

import glowkit

ROOT = Path(__file__).parents[1]


def test_the_citation_is_of_this_version() -> None:
    cited = re.search(r"^version: (.+)$", (ROOT / "CITATION.cff").read_text(), re.MULTILINE)
    assert cited
    assert cited[1] == glowkit.__version__


def test_what_the_image_is_built_of_is_let_through() -> None:
    let = (ROOT / ".dockerignore").read_text().splitlines()
    copied = re.findall(r"^COPY (?!--)(.+) \S+$", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    named = [name for line in copied for name in line.split()]
    assert named
    for name in named:
        assert f"!{name}" in let, name
        assert (ROOT / name).exists(), name

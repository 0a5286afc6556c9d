"""Charts as SVG: what is drawn where, and that nothing breaks them."""

import re
from xml.etree import ElementTree

import pytest

from glowkit.pictures.charts import bar_chart, curve_chart, frame_of, in_frame, thinned, ticks

CURVES = {"train": [(1, 9.0), (2, 3.0), (3, 2.0)], "validation": [(2, 2.5), (3, 2.25)]}


def test_charts_are_xml_and_escape_what_they_name() -> None:
    chart = curve_chart("<a>'\"", "bits", CURVES, {"b<c": 2.0}, (3, 2.25), [(1, 1e-3), (3, 0.0)])
    root = ElementTree.fromstring(chart)
    assert root.get("aria-label") == "<a>'\""
    assert "b<c" in [text.text for text in root.iter("text")]
    assert ElementTree.fromstring(bar_chart("t", "bits/dim", [1, 2, 3], [4, 0], 1.5)) is not None


def test_the_kept_step_is_marked_on_the_curve() -> None:
    root = ElementTree.fromstring(curve_chart("t", "nats", CURVES, {}, (3, 2.25)))
    [kept] = [one for one in root.iter("circle") if one.get("class") == "kept"]
    dots = [(one.get("cx"), one.get("cy")) for one in root.iter("circle") if one is not kept]
    assert (kept.get("cx"), kept.get("cy")) == dots[-1]


def test_bars_stand_on_the_axis_and_are_as_high_as_their_counts() -> None:
    root = ElementTree.fromstring(bar_chart("t", "x", [0, 1, 2, 3], [10, 5, 0], float("nan")))
    heights = [float(bar.get("height", "")) for bar in root.iter("rect")]
    assert heights[0] == pytest.approx(2 * heights[1], abs=0.2)
    assert heights[2] == 0
    assert 'class="level"' not in bar_chart("t", "x", [0, 1], [1], float("inf"))


def test_far_levels_do_not_flatten_the_curves() -> None:
    values = [2.0 + n / 100 for n in range(100)]
    frame = frame_of(values, {"near": 2.5, "far": 50.0})
    assert frame[1] < 3.1
    assert in_frame({"near": 2.5, "far": 50.0}, frame) == ["near"]


@pytest.mark.parametrize(
    "lines", [{}, {"train": []}, {"train": [(5, 1.0)]}, {"train": [(1, 2.0), (2, 2.0)]}]
)
def test_few_points_make_a_chart_too(lines: dict[str, list[tuple[float, float]]]) -> None:
    drawn = curve_chart("t", "nats", lines, {}, None, [(1, 0.0)])
    ElementTree.fromstring(drawn)
    assert not re.search(r"nan|inf\b", drawn)


def test_ticks_are_few_and_round() -> None:
    assert ticks(-1, 1) == [-1.0, -0.5, 0.0, 0.5, 1.0]
    assert ticks(3, 3) == [3]
    for low, high in ((0, 1e-7), (-5e6, 3e6), (2.26, 2.31)):
        assert 3 <= len(ticks(low, high)) <= 11
        assert all(low <= tick <= high for tick in ticks(low, high))


def test_thinned_curves_keep_their_last_point() -> None:
    points = [(float(n), 0.0) for n in range(10_001)]
    assert len(thinned(points)) <= 601
    assert thinned(points)[-1] == points[-1]

"""Charts of a page as SVG, whose lines and letters take their colours from the page's CSS.

Classes: `line`, `dots`, `bars`, `level` (dashed), `kept`, `grid`, and `train`, `validation`, `rate`
for whose they are. Letters are `currentColor`. Nothing in a chart is drawn by matplotlib, whose
import takes longer than all of a report.
"""

import math
from collections.abc import Mapping, Sequence
from html import escape

WIDTH, HEIGHT = 520, 300  # small, so that the letters are still read on a phone
LEFT, RIGHT, TOP, BOTTOM = 52, 12, 12, 40
RATE = 56  # of the learning rate's own strip
SHOWN = 97  # per cent of the values: the first steps are so high that they would flatten the rest
MOST_POINTS = 600

Points = Sequence[tuple[float, float]]


def ticks(low: float, high: float, about: int = 5) -> list[float]:
    """Round numbers from low to high, about so many.

    >>> ticks(0, 10), ticks(2.31, 2.58, 3)
    ([0.0, 2.0, 4.0, 6.0, 8.0, 10.0], [2.4, 2.5])
    """
    if not high > low:
        return [low]
    rough = (high - low) / about
    unit = 10.0 ** math.floor(math.log10(rough))
    step = unit * min((1, 2, 5, 10), key=lambda one: abs(math.log(one * unit / rough)))
    first = math.ceil(low / step - 1e-9)
    return [round(n * step, 12) for n in range(first, math.floor(high / step + 1e-9) + 1)]


class _Frame:
    """From data to pixels."""

    def __init__(self, x: tuple[float, float], y: tuple[float, float], top: int, bottom: int):
        self.x, self.y, self.top, self.bottom = x, y, top, bottom

    def across(self, value: float) -> str:
        low, high = self.x
        return f"{LEFT + (WIDTH - LEFT - RIGHT) * (value - low) / ((high - low) or 1):.1f}"

    def up(self, value: float) -> str:
        low, high = self.y
        place = self.bottom - (self.bottom - self.top) * (value - low) / ((high - low) or 1)
        return f"{max(place, -1000):.1f}"  # far above the frame, which cuts it off

    def path(self, points: Points) -> str:
        return "M" + "L".join(f"{self.across(x)} {self.up(y)}" for x, y in points)


def curve_chart(
    title: str,
    unit: str,
    lines: Mapping[str, Points],
    levels: Mapping[str, float],
    kept: tuple[float, float] | None = None,
    rate: Points = (),
) -> str:
    """Figures against step, and the learning rate in a strip below, as an SVG element.

    title: what a screen reader says. lines: (step, value) by class. levels: dashed lines by name,
    of which only those that `in_frame` names are drawn. kept: the point that is marked.

    >>> curve_chart("t", "nats", {"train": [(1, 3.0), (2, 2.0)]}, {})[:4]
    '<svg'
    """
    every = [point for points in lines.values() for point in points]
    low, high = frame_of([value for _, value in every], levels)
    steps = [step for step, _ in [*every, *rate]]
    x = (min(steps, default=0), max(steps, default=1))
    bottom = HEIGHT - BOTTOM - (RATE if rate else 0)
    frame = _Frame(x, (low, high), TOP, bottom)
    drawn = _grid(frame, ticks(low, high))
    for name in in_frame(levels, (low, high)):
        at = frame.up(levels[name])
        drawn.append(f'<path class="level" d="M{LEFT} {at}H{WIDTH - RIGHT}"/>')
    # An <svg> within cuts off what is beyond it, here the values of the first steps.
    box = (LEFT - 4, TOP - 4, WIDTH - LEFT - RIGHT + 8, bottom - TOP + 8)
    drawn.append(
        f'<svg x="{box[0]}" y="{box[1]}" width="{box[2]}" height="{box[3]}"'
        f' viewBox="{box[0]} {box[1]} {box[2]} {box[3]}">'
    )
    for name, points in lines.items():
        if name == "validation":
            dots = "".join(
                f'<circle cx="{frame.across(x)}" cy="{frame.up(y)}" r="2.5"/>'
                for x, y in thinned(points, 150)
            )
            drawn.append(f'<g class="dots {name}">{dots}</g>')
        if len(points) > 1:
            drawn.append(f'<path class="line {name}" d="{frame.path(thinned(points))}"/>')
    drawn.append("</svg>")
    if kept is not None:
        drawn.append(
            f'<circle class="kept" cx="{frame.across(kept[0])}" cy="{frame.up(kept[1])}" r="6"/>'
        )
    drawn += _names({name: float(frame.up(levels[name])) for name in in_frame(levels, (low, high))})
    if rate:
        strip = _Frame(x, (0, max(value for _, value in rate)), bottom + 18, HEIGHT - BOTTOM)
        drawn += _grid(strip, [0, strip.y[1]], "%.1g")
        drawn.append(f'<path class="line rate" d="{strip.path(thinned(rate))}"/>')
        drawn.append(_text(WIDTH - RIGHT - 2, bottom + 28, "learning rate", "end", "name"))
    drawn += _below(frame, "step", [t for t in ticks(*x) if t == round(t)])
    drawn.append(_text(LEFT + 6, TOP + 12, unit, "start", "name"))
    return _svg(title, drawn)


def _names(places: Mapping[str, float]) -> list[str]:
    """The names of levels above their lines, or below where another's is just above."""
    drawn, above = [], -math.inf
    for name, at in sorted(places.items(), key=lambda item: item[1]):
        up = at - 4 if at - above > 16 else at + 13
        drawn.append(_text(WIDTH - RIGHT - 2, up, name, "end", "name"))
        above = at
    return drawn


def frame_of(values: Sequence[float], levels: Mapping[str, float]) -> tuple[float, float]:
    """The lowest and highest value of the frame: most values, and levels that are not far away."""
    known = sorted(values) or [0.0]
    low, high = known[0], known[min(len(known) - 1, len(known) * SHOWN // 100)]
    room = 2 * (high - low) or 1.0
    near = [value for value in levels.values() if low - room <= value <= high + room]
    low, high = min([low, *near]), max([high, *near])
    margin = 0.06 * (high - low) or 0.1
    return low - margin, high + margin


def in_frame(levels: Mapping[str, float], frame: tuple[float, float]) -> list[str]:
    """The names of the levels that are drawn."""
    return [name for name, value in levels.items() if frame[0] <= value <= frame[1]]


def bar_chart(
    title: str, unit: str, edges: Sequence[float], counts: Sequence[int], mean: float
) -> str:
    """A histogram as an SVG element. edges: one more than counts. mean: marked where finite."""
    high = max(counts, default=1) or 1
    frame = _Frame((edges[0], edges[-1]), (0, high), TOP + 14, HEIGHT - BOTTOM)
    whole = [tick for tick in ticks(0, high) if tick == round(tick)]
    drawn = [*_grid(frame, whole, "%d"), '<g class="bars">']
    for left, right, count in zip(edges[:-1], edges[1:], counts, strict=True):
        width = max(float(frame.across(right)) - float(frame.across(left)) - 1, 0.5)
        top = frame.up(count)
        drawn.append(
            f'<rect x="{frame.across(left)}" y="{top}" width="{width:.1f}"'
            f' height="{frame.bottom - float(top):.1f}"/>'
        )
    drawn.append("</g>")
    if math.isfinite(mean) and edges[0] <= mean <= edges[-1]:
        at = frame.across(mean)
        drawn.append(f'<path class="level" d="M{at} {frame.top}V{frame.bottom}"/>')
        anchor = "end" if float(at) > WIDTH / 2 else "start"
        drawn.append(_text(float(at), TOP + 6, f"mean {mean:.3f}", anchor, "name"))
    return _svg(title, [*drawn, *_below(frame, unit, ticks(*frame.x))])


def thinned(points: Points, most: int = MOST_POINTS) -> Points:
    """At most about so many points, evenly chosen, the last among them."""
    every = -(-len(points) // most)
    return points if every <= 1 else [*points[:-1:every], points[-1]]


def _grid(frame: _Frame, values: Sequence[float], form: str = "%.6g") -> list[str]:
    drawn = []
    for value in values:
        at = frame.up(value)
        drawn.append(f'<path class="grid" d="M{LEFT} {at}H{WIDTH - RIGHT}"/>')
        drawn.append(_text(LEFT - 6, float(at) + 4, form % value, "end"))
    return drawn


def _below(frame: _Frame, name: str, values: Sequence[float]) -> list[str]:
    under = HEIGHT - BOTTOM + 16
    drawn = [_text(float(frame.across(value)), under, f"{value:,.6g}") for value in values]
    return [*drawn, _text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 6, name)]


def _text(x: float, y: float, text: str, anchor: str = "middle", kind: str = "") -> str:
    of = f' class="{kind}"' if kind else ""
    return f'<text{of} x="{x:g}" y="{y:g}" text-anchor="{anchor}">{escape(text)}</text>'


def _svg(title: str, drawn: Sequence[str]) -> str:
    said = escape(title, quote=True)
    return (
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{said}">{"".join(drawn)}</svg>'
    )

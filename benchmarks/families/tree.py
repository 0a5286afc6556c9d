"""The picture that helps to choose a family: a few questions, left to right."""

from dataclasses import dataclass
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from glowkit.system.files import replacing


@dataclass(frozen=True)
class Node:
    """A question with its answers, or, without any, a family to begin with."""

    text: str
    answers: tuple[tuple[str, "Node"], ...] = ()


TREE = Node(
    "What are\nthe examples?",
    (
        (
            "images",
            Node(
                "What is the\nmodel for?",
                (
                    (
                        "the fewest bits/dim, exact",
                        Node("ordinal autoregressive: ar-tiny, ar-small"),
                    ),
                    ("latents: interpolate, edit", Node("Glow: glow-tiny, glow-small")),
                    (
                        "compression, anomalies",
                        Node("Flow++, Glow: flowpp-tiny, glow-small"),
                    ),
                    ("a lesson in a minute", Node("NICE: nice-tiny")),
                ),
            ),
        ),
        (
            "vectors:\npoints, tables",
            Node(
                "What matters\nmost?",
                (
                    ("fast both ways", Node("spline coupling: spline-points")),
                    ("the best log p, D small", Node("autoregressive splines: nsf-points")),
                    ("modes apart, holes", Node("more dimensions: cif-points, vflow-points")),
                    ("symmetry in signs", Node("absolute value: preprocessing=absolute")),
                    ("smooth paths", Node("flow matching: matching-points")),
                    ("Lipschitz bounds", Node("residual flow: residual-points")),
                ),
            ),
        ),
    ),
)
COLUMNS = (0.008, 0.25, 0.64)  # of questions and families, in parts of the width


def leaves(node: Node) -> int:
    """How many families a question leads to."""
    return sum(leaves(below) for _, below in node.answers) or 1


def draw_tree(path: Path) -> None:
    """Write the picture as a PNG."""
    figure = Figure((10, 4.6))
    axes = figure.add_axes((0.01, 0.01, 0.98, 0.98))
    axes.set(xlim=(0, 1), ylim=(0, leaves(TREE)))
    axes.axis("off")
    _draw(axes, TREE, 0, leaves(TREE))
    with replacing(path) as made:
        FigureCanvasAgg(figure).print_png(made)


def _draw(axes: Axes, node: Node, depth: int, top: float) -> float:
    """Draw a node whose leaves hang from `top` downwards; returns its height."""
    height = top - leaves(node) / 2
    x = COLUMNS[depth]
    face = "#eef3fa" if node.answers else "#f4f1e4"
    axes.text(
        x,
        height,
        node.text,
        va="center",
        fontsize=10,
        bbox={"boxstyle": "round,pad=0.4", "facecolor": face, "edgecolor": "0.6"},
        zorder=2,
    )
    for answer, below in node.answers:
        reached = _draw(axes, below, depth + 1, top)
        top -= leaves(below)
        start, end = x + 0.115 - 0.01 * depth, COLUMNS[depth + 1] - 0.01
        turn = start + 0.015
        axes.plot([start, turn, turn, end], [height, height, reached, reached], color="0.6", lw=1)
        axes.text(turn + 0.008, reached + 0.06, answer, va="bottom", fontsize=9, color="0.25")
    return height

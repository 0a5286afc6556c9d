"""`glowkit integrate`: an integral by neural importance sampling."""

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from glowkit.cli.common import JSON, SEED, refuse_given, show_json
from glowkit.cli.speech import QUIET, moving_bar, say, show, warn
from glowkit.system.errors import GlowkitError

if TYPE_CHECKING:
    from torch import Generator, Tensor

    from glowkit.models.cube import CubeConfig
    from glowkit.tasks.integration import Bounds, Estimate, Integral, Plane, Progress

DRAWN_POINTS = 100_000
PICTURES = "picture:"
MOST_CELLS = 256  # a side, of the grid that KL is on: it is looked at some 27 times


@dataclass(frozen=True)
class Asked:
    """An integrand and what is known of it. cells: columns and rows of a picture's grid."""

    function: "Callable[[Tensor], Any]"
    dims: int
    exact: float | None
    cells: tuple[int, int] | None
    config: "CubeConfig"


def integrate(
    integrand: Annotated[
        str,
        typer.Argument(
            metavar="INTEGRAND",
            help="A benchmark's name, such as camel:4; FILE.py:FUNCTION, of points (N, D) to values"
            " (N,), whose code is run; or picture:FILE, the brightness of an image.",
        ),
    ],
    dims: Annotated[int | None, typer.Option(help="D, for FILE.py:FUNCTION.")] = None,
    bounds: Annotated[
        str | None,
        typer.Option(
            metavar="LOW:HIGH,...",
            help="Of each dimension, or one for all; by default 0:1. For FILE.py:FUNCTION.",
        ),
    ] = None,
    calls: Annotated[
        float, typer.Option(help="Points at which it may be called, such as 1e6.")
    ] = 1_000_000,
    relative_error: Annotated[
        float | None, typer.Option(help="Stop as soon as so small an error can be expected.")
    ] = None,
    loss: Annotated[
        str, typer.Option(help="kl; chi2, from two thirds of training on; or variance.")
    ] = "kl",
    defensive: Annotated[float, typer.Option(help="Share of the points that is uniform.")] = 0.02,
    replay: Annotated[
        int, typer.Option(min=0, help="More steps a batch, of earlier points: for dear integrands.")
    ] = 0,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="NAME=VALUE", help="Change a setting of the flow."),
    ] = None,
    compare: Annotated[
        str | None, typer.Option(help="Others with as many calls: vegas, flat, or both.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="PNG to draw, of 2 dimensions: f, the flow, points, KL.")
    ] = None,
    seed: Annotated[int, SEED] = 0,
    as_json: Annotated[bool, JSON] = False,
    quiet: Annotated[bool, QUIET] = False,
) -> None:
    """The integral of a function over a box, from points of a flow that learns where it is large.

    Prints value and standard error, and how good the points are. It pays for functions that do not
    factorise into one of each dimension, and that are slow: see docs/integration.md.

    Example: `glowkit integrate camel:4 --calls 8e5 --compare vegas,flat`
    """
    from glowkit.cli.images import check_png

    check_png(out)
    asked = _asked(integrand, dims, bounds, settings or [])
    if not (calls >= 0 and calls == int(calls)):
        raise GlowkitError(f"--calls is {calls:g}; it must be a whole number")

    import torch

    from glowkit.tasks.integration import Integrand, Plane, check_baselines
    from glowkit.tasks.integration import integrate as integral_of

    pairs = _pairs(bounds, asked.dims)
    others = check_baselines(compare) if compare is not None else []
    generator = torch.Generator().manual_seed(seed)
    plane = None
    if out is not None or asked.cells is not None:
        plane = Plane(Integrand(asked.function, asked.dims, pairs), *_given(asked.cells))
    with moving_bar(f"learning {integrand}") as advance:

        def callback(progress: "Progress") -> None:
            advance(progress.step, progress.steps)
            if plane is not None:
                plane(progress)

        found = integral_of(
            asked.function,
            asked.dims,
            pairs,
            int(calls),
            relative_error,
            loss,
            defensive,
            replay,
            model=asked.config,
            generator=generator,
            callback=callback,
        )
    compared = {name: _compared(name, asked, pairs, found.calls, generator) for name in others}
    if out is not None and plane is not None:
        _draw(found, plane, asked, out, generator)
    _warn(found, relative_error)
    kl = plane.divergences(found.proposal) if plane is not None else None
    if as_json:
        figures = _figures(found, asked.exact, compared)
        if kl is not None:
            figures |= {"kl_nats": kl.forward, "reverse_kl_nats": kl.reverse}
        path = None if out is None else str(out)
        show_json({"integrand": integrand, "seed": seed} | figures | {"path": path})
        return
    text = _text(found, asked.exact, compared)
    if kl is not None:
        text["KL of f and flow"] = f"{kl.forward:.4f} nats, the other way {kl.reverse:.4f}"
    show(f"{integrand}, {found.calls:,} calls", text)
    if out is not None:
        say(f"picture: {out}")


def _given(cells: tuple[int, int] | None) -> list[tuple[int, int]]:
    return [] if cells is None else [cells]


def _asked(spec: str, dims: int | None, bounds: str | None, settings: list[str]) -> Asked:
    from glowkit.cli.plan import parse_settings

    changes = parse_settings(settings)
    if "dimensions" in changes:
        raise GlowkitError("the integrand says of how many dimensions the flow is; use --dims")
    if ".py" in spec and not spec.startswith(PICTURES):
        from glowkit.models.own import function_of

        if dims is None:
            raise GlowkitError(f"--dims is missing: of how many dimensions is {spec}?")
        function = function_of(spec)
        return Asked(function, dims, None, None, _config(dims, changes, {}))

    from glowkit.data.integrands import benchmark_integrand, in_proportion, picture_integrand

    known = None if spec.startswith(PICTURES) else benchmark_integrand(spec)
    refuse_given(f"{spec} says itself of which dimensions it is", dims=dims, bounds=bounds)
    if known is None:
        picture = picture_integrand(Path(spec.removeprefix(PICTURES)).expanduser())
        height, width = picture.pixels.shape
        rows, columns = in_proportion(height, width, MOST_CELLS)
        config = _config(2, changes, PICTURE)
        return Asked(picture.function, 2, picture.exact, (columns, rows), config)
    return Asked(known.function, known.dims, known.exact, None, _config(known.dims, changes, {}))


PICTURE = {"coupling": "quadratic", "bins": 64, "encoding": "one-blob", "blobs": 64, "width": 128}
"""Settings of a flow for the fine detail of a picture, as Müller et al. 2019 have for theirs."""


def _config(dims: int, changes: dict[str, Any], usual: dict[str, Any]) -> "CubeConfig":
    from glowkit.models import CubeConfig, changed

    return changed(CubeConfig(max(1, dims), **usual), changes)


def _pairs(bounds: str | None, dims: int) -> "Bounds | None":
    if bounds is None:
        return None
    pairs = []
    for word in bounds.split(","):
        low, colon, high = word.partition(":")
        try:
            if not colon:
                raise ValueError
            pairs.append((float(low), float(high)))
        except ValueError:
            raise GlowkitError(f"--bounds takes LOW:HIGH, such as 0:1, not {word!r}") from None
    return pairs * dims if len(pairs) == 1 else pairs


def _compared(
    name: str, asked: Asked, bounds: "Bounds | None", calls: int, generator: "Generator"
) -> "Estimate":
    from glowkit.tasks.integration import BASELINES, Integrand

    return BASELINES[name](Integrand(asked.function, asked.dims, bounds), calls, generator)


def _figures(
    found: "Integral", exact: float | None, compared: "dict[str, Estimate]"
) -> dict[str, Any]:
    return {
        "value": found.value,
        "error": found.error,
        "relative_error": found.relative_error,
        "exact": exact,
        "errors_off": None if exact is None else _off(found.value, found.error, exact),
        "effective": found.effective,
        "unweighting": found.unweighting,
        "unweighting_largest": found.sizes.unweighting_largest,
        "overweight_share": found.sizes.overweight_share,
        "half_points": found.sizes.half,
        "chi_squared": found.chi2,
        "training_value": found.training.value,
        "training_error": found.training.error,
        "calls": found.calls,
        "training_calls": found.training.points,
        "compared": {
            name: {key: value for key, value in asdict(one).items() if key != "effective"}
            for name, one in compared.items()
        },
    }


def _text(
    found: "Integral", exact: float | None, compared: "dict[str, Estimate]"
) -> dict[str, str]:
    sizes, training = found.sizes, found.training
    text = {"integral": _value(found.value, found.error)}
    if exact is not None:
        off = _off(found.value, found.error, exact)
        text["exact"] = f"{exact:.8g}, from which it is {off:+.2f} standard errors"
    text["effective"] = f"{found.effective:.3f} of {found.calls - training.points:,} points"
    text["unweighting"] = (
        f"{found.unweighting:.3f} of the points, {sizes.unweighting_largest:.3f} to the largest"
        f" weight; {sizes.overweight_share:.2%} of the integral is beyond"
    )
    text["training"] = (
        f"{_value(training.value, training.error)}; χ² of its batches {found.chi2:.2f}"
    )
    for name, one in compared.items():
        text[name] = f"{_value(one.value, one.error)}, {one.points:,} calls"
    return text


def _value(value: float, error: float) -> str:
    relative = f" (relative {error / abs(value):.1e})" if value else ""
    return f"{value:.8g} ± {error:.2g}{relative}"


def _off(value: float, error: float, exact: float) -> float:
    """By how many errors a value is off."""
    return (value - exact) / error if error else math.copysign(math.inf, value - exact)


def _warn(found: "Integral", wanted: float | None) -> None:
    from glowkit.tasks.integration import FEW

    if found.sizes.half < FEW:
        warn(
            f"note: {found.sizes.half} points carry half of the integral, so that its error is not"
            " to be trusted; give more calls"
        )
    if wanted is not None and found.relative_error > wanted:
        warn(
            f"note: the relative error is {found.relative_error:.2g}, above {wanted:g}; give more"
            " calls"
        )


def _draw(
    found: "Integral", plane: "Plane", asked: Asked, out: Path, generator: "Generator"
) -> None:
    from glowkit.pictures.integral import integral_sheet
    from glowkit.pictures.sheet import save_png

    steps = len(found.batches)
    last = plane.image(plane.log_density(found.proposal).exp())
    images = [("integrand", plane.image(plane.values))]
    images += [(f"flow, step {n}", image) for n, image in plane.snapshots if n < steps]
    images.append((f"flow, step {steps}", last))
    points = found.proposal.sample(DRAWN_POINTS, generator=generator)
    low, high = found.integrand.low.tolist(), found.integrand.high.tolist()
    corners = (low[0], high[0], low[1], high[1])
    cmap = "magma" if asked.cells is None else "gray"
    title = f"{DRAWN_POINTS:,} points of it"
    save_png(integral_sheet(images, (title, points), plane.curve, corners, cmap), out)

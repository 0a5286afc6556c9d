"""Benchmark integrands on the unit cube, whose integrals are known, and a picture as one."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from glowkit.data.picture import BadImage, Request, read_pixels, strict_about_bombs
from glowkit.system.errors import GlowkitError

ALPHA = 0.2  # the width of the Gaussians
CENTRES = 100  # of the peaks of `diagonal`
DECAY = 50.0  # of the peaks of `diagonal`
SIDE = 512  # pixels of a picture's longer side, at most: finer detail than a flow learns


@dataclass(frozen=True)
class BenchmarkIntegrand:
    """A function on [0, 1]^D, from points (N, D) to values (N,), and its exact integral."""

    name: str
    dims: int
    function: Callable[[Tensor], Tensor]
    exact: float

    def __call__(self, x: Tensor) -> Tensor:
        return self.function(x)


def _bump(x: Tensor, centre: float) -> Tensor:
    log_scale = -x.shape[1] * math.log(ALPHA * math.sqrt(math.pi))  # no number itself from 685 on
    return (log_scale - (x - centre).square().sum(1) / ALPHA**2).exp()


def gauss(dims: int) -> BenchmarkIntegrand:
    """(α√π)^−D exp(−Σ (x_i − ½)² / α²), α = 0.2: erf(1/2α)^D. Source: i-flow, section III.

    >>> round(gauss(2).exact, 6)
    0.999186
    """
    exact = math.erf(0.5 / ALPHA) ** dims
    return BenchmarkIntegrand(f"gauss:{dims}", dims, lambda x: _bump(x, 0.5), exact)


def camel(dims: int) -> BenchmarkIntegrand:
    """Half of two such Gaussians, at ⅓ and ⅔ of the diagonal: [½ (erf(1/3α) + erf(2/3α))]^D.

    A grid that factorises, as that of vegas, has peaks at all corners between the two. Source:
    Lepage 1978; i-flow, section III.

    >>> [round(camel(d).exact, 6) for d in (2, 4, 8, 16)]
    [0.98166, 0.963657, 0.928635, 0.862363]
    """

    def function(x: Tensor) -> Tensor:
        return (_bump(x, 1 / 3) + _bump(x, 2 / 3)) / 2

    exact = (0.5 * (math.erf(1 / (3 * ALPHA)) + math.erf(2 / (3 * ALPHA)))) ** dims
    return BenchmarkIntegrand(f"camel:{dims}", dims, function, exact)


RADIUS_SQUARED = 0.25**2
SHARPNESS = 250.0


def circles() -> BenchmarkIntegrand:
    """y³ e^{−k |(y − 0.6)² + (x − 0.4)² − r²|} + (1 − y)³ e^{−k |(y − 0.4)² + (x − 0.6)² − r²|}.

    k = 250, r = ¼: two circles that cross, thicker above and below. In polar coordinates about
    each centre, where the mean of (a + ρ sin θ)³ is a³ + 3/2 a ρ²: 2π (a³ A + 3/2 a B), a = 0.6,
    A = (2 − e^{−k r²}) / k, B = 2 r² / k + e^{−k r²} / k²; what lies outside of the square is below
    1e-8 of it. Source: i-flow, section III. With 1 − y³, as it is also found, it is 0.02942.

    >>> round(circles().exact, 9)
    0.013684777
    """

    def function(x: Tensor) -> Tensor:
        across, up = x[:, 0], x[:, 1]

        def circle(first: float, second: float) -> Tensor:
            away = (up - second).square() + (across - first).square() - RADIUS_SQUARED
            return (-SHARPNESS * away.abs()).exp()

        return up**3 * circle(0.4, 0.6) + (1 - up) ** 3 * circle(0.6, 0.4)

    rest = math.exp(-SHARPNESS * RADIUS_SQUARED)
    plain = (2 - rest) / SHARPNESS
    second = 2 * RADIUS_SQUARED / SHARPNESS + rest / SHARPNESS**2
    exact = 2 * math.pi * (0.6**3 * plain + 1.5 * 0.6 * second)
    return BenchmarkIntegrand("circles", 2, function, exact)


def ring() -> BenchmarkIntegrand:
    """1 for 0.2 < ‖x − ½‖ < 0.45, else 0: π (0.45² − 0.2²), of a cut in phase space."""

    def function(x: Tensor) -> Tensor:
        radius = (x - 0.5).square().sum(1).sqrt()
        return ((radius > 0.2) & (radius < 0.45)).to(x.dtype)

    return BenchmarkIntegrand("ring", 2, function, math.pi * (0.45**2 - 0.2**2))


MASS_SQUARED = 175.0**2  # of the particle in the loop, in GeV² as all of these
LEG_SQUARED = 125.0**2  # of the one outer particle with a mass
S12, S23 = 130.0**2, -(130.0**2) / 2


def box() -> BenchmarkIntegrand:
    """A box diagram, 3-D: Σ F^−2 over four cuts of the loop, Feynman parameters t in the cube.

    F = −a t₂ − b t₁t₃ − M²_{p0}t₁ − M²_{p1}t₁t₂ − M²_{p2}t₂t₃ − M²_{p3}t₃ + (1 + t₁ + t₂ + t₃)
    (t₁m² + t₂m² + t₃m² + m²), for p = 1230 and 3012 with (a, b) = (s₂₃, s₁₂), and 2301 and 0123
    with (s₁₂, s₂₃). Source: i-flow, section III.
    """
    legs = (0.0, 0.0, 0.0, LEG_SQUARED)
    cuts = (
        ((1, 2, 3, 0), S23, S12),
        ((2, 3, 0, 1), S12, S23),
        ((3, 0, 1, 2), S23, S12),
        ((0, 1, 2, 3), S12, S23),
    )

    def function(x: Tensor) -> Tensor:
        t1, t2, t3 = x.unbind(1)
        sum_ = 1 + t1 + t2 + t3
        total = torch.zeros_like(t1)
        for p, a, b in cuts:
            m0, m1, m2, m3 = (legs[i] for i in p)
            form = sum_ * sum_ * MASS_SQUARED - a * t2 - b * t1 * t3
            form = form - m0 * t1 - m1 * t1 * t2 - m2 * t2 * t3 - m3 * t3
            total = total + form**-2
        return total

    return BenchmarkIntegrand("box", 3, function, 1.93696402386819e-10)


def triangle() -> BenchmarkIntegrand:
    """A triangle diagram, 2-D and negative: −Σ 1 / ((1 + t₁ + t₂) F) over three cuts of the loop.

    F = −M²_{p0}t₁ − M²_{p1}t₁t₂ − M²_{p2}t₂ + (1 + t₁ + t₂)(t₁m² + t₂m² + m²), p = 120, 201, 012.
    Source: i-flow, section III.
    """
    legs = (0.0, 0.0, LEG_SQUARED)

    def function(x: Tensor) -> Tensor:
        t1, t2 = x.unbind(1)
        sum_ = 1 + t1 + t2
        total = torch.zeros_like(t1)
        for p in ((1, 2, 0), (2, 0, 1), (0, 1, 2)):
            m0, m1, m2 = (legs[i] for i in p)
            form = sum_ * sum_ * MASS_SQUARED - m0 * t1 - m1 * t1 * t2 - m2 * t2
            total = total - 1 / (sum_ * form)
        return total

    return BenchmarkIntegrand("triangle", 2, function, -1.70721682537768e-5)


def diagonal(dims: int) -> BenchmarkIntegrand:
    """Σ_j exp(−50 ‖x − c_j‖), with c_j at (j + ½) / 100 of the diagonal, j = 0 ... 99.

    exp(−λr) = ∫ λ / (2√π) t^{−3/2} e^{−λ²/4t} e^{−t r²} dt turns each peak into Gaussians, which
    factorise over the cube: the exact value is an integral over t alone. After the peaks along a
    diagonal of Lepage 2021, which need a map that does not factorise.

    >>> round(diagonal(1).exact, 4)
    3.9208
    """
    places = (torch.arange(CENTRES, dtype=torch.float64) + 0.5) / CENTRES

    def function(x: Tensor) -> Tensor:
        # ‖x − c‖² = ‖x‖² − 2 c Σ x_i + D c², of all centres at once.
        c = places.to(x)
        squared = (
            x.square().sum(1, keepdim=True) - 2 * c * x.sum(1, keepdim=True) + len(x[0]) * c**2
        )
        return (-DECAY * squared.clamp_min(0).sqrt()).exp().sum(1)

    return BenchmarkIntegrand(f"diagonal:{dims}", dims, function, _diagonal_exact(dims))


def _diagonal_exact(dims: int) -> float:
    log_t = np.linspace(math.log(1.0), math.log(1e14), 20_001)
    t = np.exp(log_t)
    root = torch.from_numpy(np.sqrt(t))[:, None]
    c = (torch.arange(CENTRES, dtype=torch.float64) + 0.5) / CENTRES
    side = (torch.erf(root * c) + torch.erf(root * (1 - c))) / 2
    volumes = (side * (math.pi**0.5 / root)).pow(dims).sum(1).numpy()
    weight = DECAY / (2 * math.sqrt(math.pi)) * t**-0.5 * np.exp(-(DECAY**2) / (4 * t))
    # Smooth and vanishing at both ends: the trapezoidal rule is exact to rounding.
    return float((weight * volumes).sum() * (log_t[1] - log_t[0]))


def polynomial(dims: int) -> BenchmarkIntegrand:
    """Σ_i (x_i − x_i²): D / 6. Flat sampling is good already. Source: i-flow, section III.

    >>> polynomial(3).exact
    0.5
    """

    def function(x: Tensor) -> Tensor:
        return (x - x.square()).sum(1)

    return BenchmarkIntegrand(f"polynomial:{dims}", dims, function, dims / 6)


OF_ANY_DIMENSION = {"gauss": gauss, "camel": camel, "diagonal": diagonal, "polynomial": polynomial}
OF_ONE_DIMENSION = {"circles": circles, "ring": ring, "box": box, "triangle": triangle}
NAMES = (*(f"{name}:DIMS" for name in OF_ANY_DIMENSION), *OF_ONE_DIMENSION)
MOST_DIMENSIONS = 1000


def benchmark_integrand(spec: str) -> BenchmarkIntegrand:
    """The integrand of a name, such as camel:4.

    Raises:
        GlowkitError: for a name that does not exist, or without a number of dimensions it needs.

    >>> benchmark_integrand("camel:4").dims
    4
    """
    name, colon, number = spec.partition(":")
    if name in OF_ONE_DIMENSION:
        if colon:
            dims = OF_ONE_DIMENSION[name]().dims
            raise GlowkitError(f"{name} is of {dims} dimensions always; leave out :{number}")
        return OF_ONE_DIMENSION[name]()
    if name not in OF_ANY_DIMENSION:
        raise GlowkitError(
            f"there is no integrand {spec!r}; choose one of {', '.join(NAMES)}, or give"
            " picture:FILE or FILE.py:FUNCTION"
        )
    if not (number.isdecimal() and 1 <= int(number) <= MOST_DIMENSIONS):
        raise GlowkitError(
            f"{spec} does not say of how many dimensions, 1 to {MOST_DIMENSIONS}; for example"
            f" {name}:4"
        )
    return OF_ANY_DIMENSION[name](int(number))


@dataclass(frozen=True)
class PictureIntegrand(BenchmarkIntegrand):
    """The brightness of a picture at a point of the unit square, bilinear between pixels.

    x is from left to right, y from the bottom up; beyond the centres of the outermost pixels it is
    constant. exact: the mean brightness, which that makes the integral. pixels: (H, W) float64,
    0 for black to 1 for white, the first row on top.
    """

    pixels: Tensor


def picture_integrand(path: Path, side: int = SIDE) -> PictureIntegrand:
    """Read a picture as a function of the unit square.

    side: how many pixels its longer side has at most; a larger picture is reduced to that, in its
    proportions, each pixel the mean of those that it is of.

    Raises:
        GlowkitError: for a file that is missing or no picture, or black all over.
    """
    if not path.exists():
        raise GlowkitError(f"no such image file: {path}")
    try:
        with strict_about_bombs():
            pixels, _ = read_pixels(path, Request(channels=1, deep=False, size=None))
    except BadImage as error:
        raise GlowkitError(f"{path} cannot be read as an image: {error}") from error
    if not pixels.any():
        raise GlowkitError(f"{path} is black all over; its brightness is 0 everywhere")
    brightness = _reduced(pixels[0], side).astype(np.float64) / 255
    return of_pixels(torch.from_numpy(brightness), f"picture:{path}")


def _reduced(pixels: np.ndarray, side: int) -> np.ndarray:
    """Pixels (H, W) of at most so many a side, float32 where there were more, not to be rounded."""
    height, width = pixels.shape
    rows, columns = in_proportion(height, width, side)
    if (rows, columns) == (height, width):
        return pixels
    image = Image.fromarray(pixels.astype(np.float32))
    return np.asarray(image.resize((columns, rows), Image.Resampling.BOX))


def in_proportion(height: int, width: int, most: int) -> tuple[int, int]:
    """Height and width, reduced in proportion to at most so many each.

    >>> in_proportion(3000, 4000, 512), in_proportion(30, 40, 512)
    ((384, 512), (30, 40))
    """
    factor = min(1.0, most / max(height, width))
    return max(1, round(height * factor)), max(1, round(width * factor))


def of_pixels(pixels: Tensor, name: str = "picture") -> PictureIntegrand:
    """Pixels (H, W) as a function of the unit square.

    >>> bright = of_pixels(torch.tensor([[0.0, 1.0], [0.0, 1.0]], dtype=torch.float64))
    >>> bright(torch.tensor([[0.0, 0.5], [0.5, 0.5], [0.9, 0.5]], dtype=torch.float64)).tolist()
    [0.0, 0.5, 1.0]
    """
    height, width = pixels.shape
    flat = pixels.flatten()

    def function(x: Tensor) -> Tensor:
        column = (x[:, 0] * width - 0.5).clamp(0, width - 1)
        row = ((1 - x[:, 1]) * height - 0.5).clamp(0, height - 1)
        left, top = column.floor().long(), row.floor().long()
        right, below = (left + 1).clamp_max(width - 1), (top + 1).clamp_max(height - 1)
        u, v = column - left, row - top
        upper = flat[top * width + left] * (1 - u) + flat[top * width + right] * u
        lower = flat[below * width + left] * (1 - u) + flat[below * width + right] * u
        return upper * (1 - v) + lower * v

    return PictureIntegrand(name, 2, function, float(pixels.mean()), pixels)

"""A model as one page that needs no server: its layers as plain numbers, and what computes them."""

import base64
import copy
import json
import math
from pathlib import Path
from typing import Any

import torch
from markupsafe import Markup
from torch import Tensor

from glowkit import __version__
from glowkit.app.exhibit import Exhibit, script
from glowkit.bijections import (
    Actnorm,
    ActnormConv1x1,
    Additive,
    Affine,
    Conv1x1,
    Coupling,
    LogisticMixture,
    Logit,
    Permute,
    Shift,
    Squeeze,
    TanhAffine,
)
from glowkit.core import Bijection, Chain, Density, GlowkitError
from glowkit.densities import (
    Classified,
    ConditionalNormal,
    Dequantize,
    Split,
    StandardNormal,
    Then,
    TopPrior,
    Uniform,
    WithLabels,
    kept_alone,
)
from glowkit.nets import GlowNet
from glowkit.nets.glow import LOG_SCALE_FACTOR, ScaledConv2d
from glowkit.system.files import write_atomically
from glowkit.training.report import page_template

SAMPLES = 12
MOST_HEAT = 1.5  # the end of the slider, of a model that bears it
MOST_NUMBERS = 8_000_000  # of 4 bytes, which base64 makes 43 MB
NAMES = {Additive: "additive", Affine: "affine", LogisticMixture: "mixture"}
PIXELWISE = (Actnorm, ActnormConv1x1, Conv1x1, Permute)


class _Program:
    """Layers in the order of `encode`, and their numbers in that order, for glow.js."""

    def __init__(self, model: Density) -> None:
        self.layers: list[dict[str, Any]] = []
        self.numbers: list[Tensor] = []
        self.shape = tuple(model.shape or ())
        self.labels: Tensor | None = None
        if not isinstance(model, Dequantize) or not isinstance(model.noise, Uniform):
            raise _refused("its dequantization is not uniform")
        if len(self.shape) != 3 or self.shape[0] not in (1, 3):
            raise _refused("its images are not of 1 or 3 channels")
        self._density(model.density)

    def _density(self, density: Density) -> None:
        if isinstance(density, WithLabels):
            self.labels = torch.eye(density.classes, dtype=torch.float64)
            self._density(density.density)
        elif type(density) is Then:
            self._bijection(density.bijection)
            self._density(density.density)
        elif isinstance(density, Split):
            self._split(density)
        elif isinstance(density, Classified):
            self._density(density.prior)
        elif isinstance(density, StandardNormal | TopPrior):
            self._prior(density)
        else:
            raise _refused(f"it has a {type(density).__name__}")

    def _split(self, split: Split) -> None:
        prior = split.prior
        if not isinstance(prior, ConditionalNormal) or not isinstance(prior.net, ScaledConv2d):
            raise _refused("the priors of its splits are not those of Glow")
        if split.seen is not kept_alone:
            raise _refused("its classes condition every layer")
        about = self._convolution(prior.net)
        channels, _, _ = self.shape
        self.layers.append(
            {"kind": "split", "kept": split.kept, "channels": channels, "convolution": about}
        )
        self.shape = (split.kept, *self.shape[1:])
        self._density(split.deeper)

    def _prior(self, prior: StandardNormal | TopPrior) -> None:
        mean, log_std = prior.mean_and_log_std(self.labels)
        sets = 1 if self.labels is None else len(self.labels)
        for values in (mean, log_std):
            self.numbers.append(values.expand(sets, *self.shape))
        size = math.prod(self.shape)
        self.layers.append({"kind": "prior", "shape": self.shape, "size": size, "sets": sets})

    def _bijection(self, bijection: Bijection) -> None:
        if isinstance(bijection, Chain):
            for part in bijection:
                self._bijection(part)
        elif isinstance(bijection, Shift):
            self.layers.append({"kind": "shift", "amount": bijection.amount})
        elif isinstance(bijection, Logit):
            self.layers.append({"kind": "logit", "alpha": bijection.alpha})
        elif isinstance(bijection, Squeeze):
            if bijection.factor != 2:
                raise _refused("its squeezes are not of 2x2 pixels")
            channels, height, width = self.shape
            self.shape = (4 * channels, height // 2, width // 2)
            self.layers.append({"kind": "squeeze"})
        elif isinstance(bijection, PIXELWISE):
            self._pixelwise(bijection)
        elif type(bijection) is Coupling:
            self._coupling(bijection)
        else:
            raise _refused(f"it has a {type(bijection).__name__}")

    def _pixelwise(self, bijection: Bijection) -> None:
        """What is affine and the same at every pixel, by what it makes of the unit vectors."""
        channels = self.shape[0]
        units = torch.eye(channels + 1, dtype=torch.float64)[:, :channels]  # and zero, the last
        ladj = 0.0
        for run in (bijection, bijection.inverse):
            y, log_dets = run(units[:, :, None, None])
            y = y[:, :, 0, 0]
            self.numbers += [(y[:-1] - y[-1]).T, y[-1]]
            ladj = ladj or float(log_dets[0])
        self.layers.append({"kind": "mix", "channels": channels, "ladj": ladj})

    def _coupling(self, coupling: Coupling) -> None:
        net, transformer = coupling.net, coupling.transformer
        if not isinstance(net, GlowNet) or type(net.entry) is not torch.nn.Identity:
            raise _refused("its conditioners are not Glow's")
        if net.context is not None:
            raise _refused("its classes condition every layer")
        gains = torch.zeros(0)
        if isinstance(transformer, TanhAffine):
            name = "tanh-affine"
            gains = transformer.gain.flatten().expand(self.shape[0] - coupling.kept)
        elif type(transformer) in NAMES:
            name = NAMES[type(transformer)]
        else:
            raise _refused(f"its couplings are {type(transformer).__name__}")
        layer = {
            "kind": "coupling",
            "kept": coupling.kept,
            "parameters": transformer.parameters_per_channel,
            "transformer": name,
            "convolutions": [self._convolution(each) for each in (net.first, net.second, net.last)],
            "gains": gains.numel(),
        }
        self.numbers.append(gains)
        self.layers.append(layer)

    def _convolution(self, conv: ScaledConv2d) -> dict[str, int]:
        """Weight and bias times the scale; what sees the border is one channel more."""
        scale = (LOG_SCALE_FACTOR * conv.logs).exp()
        weight: Tensor = conv.weight
        if conv.edge is not None:
            weight = torch.cat([weight, conv.edge[:, None]], 1)
        self.numbers += [weight * scale[:, None, None, None], conv.bias * scale]
        outputs, inputs, kernel, _ = conv.weight.shape
        return {"inputs": inputs, "outputs": outputs, "kernel": kernel}


def _refused(reason: str) -> GlowkitError:
    return GlowkitError(
        f"this model cannot be a page of its own: {reason}; --export takes Glows of uniform"
        " dequantization, whose classes condition the top prior alone, if they have any; without"
        " it, glowkit app serves every model of images"
    )


@torch.no_grad()
def program_of(model: Density) -> tuple[dict[str, Any], Tensor]:
    """The model for glow.js: its shape, levels and layers, and their numbers, (M,) float32.

    All is made in float64 and rounded once: matrices are folded and inverted, weights scaled.

    Raises:
        GlowkitError: for a model with layers that glow.js does not know, and one that is large.
    """
    plain = copy.deepcopy(model).cpu().double().eval()
    assert plain.shape is not None
    program = _Program(plain)
    numbers = torch.cat([part.detach().float().flatten() for part in program.numbers])
    if len(numbers) > MOST_NUMBERS:
        raise _refused(f"its {len(numbers):,} numbers are more than the {MOST_NUMBERS:,} of a page")
    if not bool(numbers.isfinite().all()):
        raise _refused("some of its weights are not finite")
    about = {"shape": plain.shape, "levels": plain.levels, "program": program.layers}
    return about, numbers


def write_page(exhibit: Exhibit, path: Path, command: str = "") -> int:
    """Write the page, all of it or nothing; returns its size in bytes.

    command: the line that made it, if one did; the page says it.

    Raises:
        GlowkitError: for a model that `program_of` refuses, and when it cannot be written.
    """
    page = page_of(exhibit, command).encode()
    write_atomically(path, page)
    return len(page)


def page_of(exhibit: Exhibit, command: str = "") -> str:
    """The page of an exhibit, as HTML that loads nothing."""
    about, numbers = program_of(exhibit.model)
    found = exhibit.attributes
    directions = torch.zeros(0) if found is None else found.directions
    labels = [] if exhibit.contexts is None else exhibit.contexts.tolist()
    attributes = [
        {"name": name, "auroc": None if math.isnan(auroc) else auroc}
        for name, auroc in (zip(found.names, found.auroc, strict=True) if found else ())
    ]
    data = about | {
        "numbers": _base64(numbers),
        "directions": _base64(directions),
        "attributes": attributes,
        "images": exhibit.images.flatten(1).tolist(),
        "labels": labels,
        "names": exhibit.class_names,
        "samples": SAMPLES,
        "most": min(MOST_HEAT, exhibit.heat.most),
    }
    _, height, width = exhibit.image_shape
    return page_template("export.html.jinja", "app").render(
        title=exhibit.title,
        height=height,
        width=width,
        levels=exhibit.levels,
        parameters=sum(p.numel() for p in exhibit.model.parameters()),
        names=exhibit.class_names,
        sign="an upper bound",
        usual=_usual(exhibit),
        heat=exhibit.heat.note if exhibit.heat.most < MOST_HEAT else "",
        origin=exhibit.origin,
        attributes=attributes,
        version=__version__,
        command=command,
        about=Markup(json.dumps(data, allow_nan=False).replace("<", "\\u003c")),
        glow=Markup(script("glow")),
        script=Markup(script("page")),
    )


def _usual(exhibit: Exhibit) -> str:
    """Where the bits/dim of real images lie, in a sentence; empty where there are none."""
    bits = exhibit.bits[exhibit.bits.isfinite()]
    if not len(bits):
        return ""
    low, high = bits.double().quantile(torch.tensor([0.05, 0.95], dtype=torch.float64)).tolist()
    return f"Nine in ten of {exhibit.measured} take {low:.2f} to {high:.2f}."


def _base64(values: Tensor) -> str:
    little = values.detach().cpu().float().contiguous().numpy().astype("<f4")
    return base64.b64encode(little.tobytes()).decode()

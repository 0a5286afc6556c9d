"""A model as one file that other runtimes read: ONNX, or a program of `torch.export`."""

import copy
import io
import logging
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from glowkit.core import MIDPOINT, Density, GlowkitError, frozen
from glowkit.core.checking import check_model
from glowkit.core.noise import Handed, Kept
from glowkit.densities.context import context_sizes
from glowkit.models.families import family_of
from glowkit.nets.fast import plain_operations, set_precision
from glowkit.system.files import write_atomically

WHAT = ("decode", "encode", "log-prob")
FORMATS = (".onnx", ".pt2")
ONNX = ("onnx", "onnxscript", "onnxruntime")

REFUSED = {
    ("autoregressive", "decode"): "it is decoded one token after the other, by a loop whose length"
    " and memory no graph of fixed operations holds; encode and log-prob can be exported",
    **dict.fromkeys(
        (("resflow", what) for what in WHAT),
        "its log-determinants are estimated by a random number of terms, and its layers inverted by"
        " iterations until they agree, neither of which a graph of fixed operations holds",
    ),
    ("residual", "decode"): "its layers are inverted by iterations until they agree, and how many"
    " that takes depends on the values; encode and log-prob can be exported",
}
"""What cannot be a graph, by the family's name, and why."""

EXAMPLES = 3  # that a graph is made with; it then takes any number
CHECKED = (1, 5)  # numbers of examples that the graph is checked with
TOLERANCE = 1e-4  # nats a dimension, and relative to the largest value of other outputs


@dataclass(frozen=True)
class Port:
    """An input or output of an exported graph: its name, dtype, and shape without the batch."""

    name: str
    dtype: str
    shape: tuple[int, ...]


@dataclass(frozen=True)
class Export:
    """What was exported: a graph from inputs to outputs, in a file.

    error: the largest difference from the model, of log p in nats a dimension and of other outputs
        relative to their largest, on random examples in batches of `CHECKED`.
    """

    path: Path
    what: str
    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    error: float


def export(model: Density, path: str | Path, what: str = "decode") -> Export:
    """Write one direction of a model as a graph, for runtimes that know nothing of glowkit.

    path: a name in .onnx, for ONNX Runtime and others, or .pt2, for `torch.export.load`.

    what: "decode": noise_0, noise_1, ... to x and log_p. "encode": x to those noises and log_p,
    where whatever is random, as dequantization is, stands at its median (`MIDPOINT`). "log-prob":
    x, and draw_0, ... for what is random, to log_p: standard normal draws of the caller's, since a
    graph draws nothing; zeros are medians. A conditional model takes the context too. log_p is
    (N,), in nats, of what `log_p_kind` says; all sizes but N, of the batch, are fixed.

    The graph holds matrices and weights as they are now, inverted and scaled; it computes in the
    model's dtype, conditioners too. It is run and compared with the model before it is written.

    Raises:
        GlowkitError: for a model that cannot be exported, with its family and the reason; where
            the exporter is not installed; and where the graph does not agree with the model.

    >>> import tempfile
    >>> from glowkit.densities import StandardNormal
    >>> done = export(StandardNormal((2,)), Path(tempfile.mkdtemp()) / "normal.pt2", "log-prob")
    >>> graph = torch.export.load(done.path).module()
    >>> round(graph(torch.zeros(4, 2))[0].sum().item(), 3)
    -7.352
    """
    path = Path(path)
    check_export(path, what)
    family = family_of(model.config).name if model.config is not None else type(model).__name__
    if reason := REFUSED.get((family, what)):
        raise GlowkitError(f"{what} of a model of family {family} cannot be exported: {reason}")
    check_model(model.anchor)
    for module in model.modules():
        if ready := getattr(module, "require_ready", None):
            ready()
    plain = copy.deepcopy(model).cpu().eval()
    set_precision(plain, "float32")
    with torch.no_grad(), frozen(plain), plain_operations(), _quietly():
        names, given = _examples(plain, what, EXAMPLES)
        graph = _Graph(plain, what, names)
        made = graph(*given)  # which keeps what is made of parameters, outside of the graph
        outs = _output_names(what, len(made))
        batch = torch.export.Dim("batch")
        try:
            program = torch.export.export(
                graph, given, dynamic_shapes=(tuple({0: batch} for _ in given),), strict=False
            )
        except Exception as error:  # of many kinds, each about an operation
            raise GlowkitError(
                f"{what} of a model of family {family} cannot be exported:"
                f" torch.export says {_first_line(error)}"
            ) from error
        write = _onnx if path.suffix.lower() == ".onnx" else _program
        data, run = write(program, names, outs, family)
        each = [_difference(graph, run, plain, what, n) for n in CHECKED]
        worst = float(torch.stack(each).max())  # of tensors: NaN is the largest
        if not worst <= TOLERANCE:
            raise GlowkitError(
                f"what was exported differs from the model by {worst:.2g} (of log p in nats a"
                f" dimension, or relative), where {TOLERANCE:g} is allowed; it was not written"
            )
        write_atomically(path, data)
    return Export(path, what, _ports(names, given), _ports(outs, made), worst)


def check_export(path: Path, what: str) -> None:
    """Refuse what is no direction of a model, no name of a format, or cannot be written here."""
    if what not in WHAT:
        raise GlowkitError(f"there is no {what!r} to export; choose one of {', '.join(WHAT)}")
    if path.suffix.lower() not in FORMATS:
        raise GlowkitError(f"give the exported file a name in .onnx or .pt2, not {path.name}")
    if path.suffix.lower() == ".onnx" and not all(map(find_spec, ONNX)):
        raise GlowkitError(
            f"ONNX is written and checked with packages of which one is not installed"
            f" ({', '.join(ONNX)}): pip install 'glowkit[export]', or give a name in .pt2"
        )


class _Graph(nn.Module):
    """One direction of a model, as a function of tensors alone."""

    def __init__(self, model: Density, what: str, names: Sequence[str]) -> None:
        super().__init__()
        self.model, self.what, self.names = model, what, tuple(names)

    def forward(self, *given: Tensor) -> tuple[Tensor, ...]:
        named = dict(zip(self.names, given, strict=True))
        context, x = named.pop("context", None), named.pop("x", None)
        if x is None:
            x, log_p = self.model.decode(list(named.values()), context)
            return x, log_p
        if self.what == "encode":
            noises, log_p = self.model.encode(x, context, MIDPOINT)
            return *noises, log_p
        return (self.model.log_prob(x, context, Handed(iter(named.values()))),)


def _examples(model: Density, what: str, n: int) -> tuple[list[str], tuple[Tensor, ...]]:
    """Names of the inputs, and n random examples of each."""
    source = torch.Generator().manual_seed(n)
    noises = model.draw_noises(n, 0.7, source)
    classes, features = context_sizes(model)
    context = torch.arange(n) % classes if classes else None
    if features:
        context = torch.randn(n, features, generator=source, dtype=model.anchor.dtype)
    if what == "decode":
        named = {f"noise_{i}": noise for i, noise in enumerate(noises)}
    else:
        named = {"x": model.decode(noises, context)[0]}
        if what == "log-prob":
            kept = Kept(source)
            model.log_prob(named["x"], context, kept)
            named |= {f"draw_{i}": draw for i, draw in enumerate(kept.drawn)}
    if context is not None:
        named["context"] = context
    return list(named), tuple(named.values())


def _output_names(what: str, count: int) -> list[str]:
    first = {"decode": ["x"], "encode": [f"noise_{i}" for i in range(count - 1)], "log-prob": []}
    return [*first[what], "log_p"]


Run = Callable[[tuple[Tensor, ...]], Sequence[Tensor]]
"""What was exported, as its reader computes it."""


def _difference(graph: _Graph, run: Run, model: Density, what: str, n: int) -> Tensor:
    """The largest difference of log p a dimension, or of other outputs relative to the largest."""
    _, given = _examples(model, what, n)
    *others, log_p = graph(*given)
    *found, found_log_p = run(given)
    dims = sum(noise.numel() for noise in model.draw_noises(1))
    worst = (log_p - found_log_p).abs().max() / dims
    for one, other in zip(others, found, strict=True):
        if one.is_floating_point():
            worst = worst.maximum((one - other).abs().max() / one.abs().max().clamp_min(1))
        elif not bool(((one.int() - other.int()).abs() <= 1).all()):
            return torch.full_like(worst, torch.inf)
    return worst


def _onnx(program: Any, names: list[str], outs: list[str], family: str) -> tuple[bytes, Run]:
    """The program as a file of ONNX, with the names of inputs and outputs, in onnxruntime."""
    import onnxruntime

    try:
        converted = torch.onnx.export(
            program, (), dynamo=True, input_names=names, output_names=outs, verbose=False
        )
    except Exception as error:  # of many kinds, each about an operation
        raise GlowkitError(
            f"a model of family {family} cannot be written as ONNX: {_first_line(error)}; give"
            " a name in .pt2"
        ) from error
    assert converted is not None
    data = bytes(converted.model_proto.SerializeToString())
    session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])

    def run(given: tuple[Tensor, ...]) -> list[Tensor]:
        fed = {name: tensor.numpy() for name, tensor in zip(names, given, strict=True)}
        return [torch.from_numpy(made) for made in session.run(outs, fed)]

    return data, run


def _program(program: Any, names: list[str], outs: list[str], family: str) -> tuple[bytes, Run]:
    """The program as a file of torch's, whose positions are those of the names."""
    buffer = io.BytesIO()
    about = {"inputs": ",".join(names), "outputs": ",".join(outs)}
    torch.export.save(program, buffer, extra_files=about)
    module = program.module()
    return buffer.getvalue(), lambda given: module(*given)


def _ports(names: Sequence[str], tensors: Sequence[Tensor]) -> tuple[Port, ...]:
    return tuple(
        Port(name, str(tensor.dtype).removeprefix("torch."), tuple(tensor.shape[1:]))
        for name, tensor in zip(names, tensors, strict=True)
    )


def _first_line(error: BaseException) -> str:
    """What went wrong, in short: exporters tell of it at length."""
    cause: BaseException = error
    while cause.__cause__ is not None:
        cause = cause.__cause__
    if "Constraints violated" in str(cause):
        return "the operations depend on how many examples there are"
    lines = [line.strip() for line in str(cause).splitlines() if line.strip()]
    return (lines or [type(cause).__name__])[0][:200].rstrip(".")


class _quietly(warnings.catch_warnings):
    """The exporters' notes are about themselves."""

    def __enter__(self) -> Any:
        entered = super().__enter__()
        warnings.simplefilter("ignore")
        self.loggers = [logging.getLogger(name) for name in ("torch.onnx", "onnxscript")]
        self.before = [logger.level for logger in self.loggers]
        for logger in self.loggers:
            logger.setLevel(logging.ERROR)
        return entered

    def __exit__(self, *given: Any) -> None:
        for logger, level in zip(self.loggers, self.before, strict=True):
            logger.setLevel(level)
        super().__exit__(*given)

"""Exported graphs compute what their models do, in any batch, and say what they cannot."""

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import glowkit
from glowkit import Density, GlowkitError
from glowkit.core.noise import Handed
from glowkit.densities import StandardNormal
from glowkit.tasks import exporting
from glowkit.tasks.exporting import export

TINY = {"levels": 1, "steps": 1, "width": 4, "pixel_levels": 17}


def glow(**settings: Any) -> Density:
    torch.manual_seed(0)
    model = glowkit.build(glowkit.GlowConfig((1, 4, 4), **TINY, **settings))
    images = torch.randint(0, 17, (32, 1, 4, 4), dtype=torch.uint8)
    context = torch.arange(32) % 3 if model.classes else None
    glowkit.initialize(model, images, context)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.02 * torch.randn_like(parameter)
    return model


def points(**settings: Any) -> Density:
    torch.manual_seed(0)
    model = glowkit.build(glowkit.PointsConfig(2, steps=1, width=8, **settings))
    features = settings.get("context_features")
    context = torch.randn(64, features) if features else None
    glowkit.initialize(model, torch.randn(64, 2), context)
    return model


def run(path: Path, given: dict[str, Tensor]) -> list[Tensor]:
    """The graph in a file, by ONNX Runtime or by torch."""
    if path.suffix == ".pt2":
        return list(torch.export.load(path).module()(*given.values()))
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    assert [each.name for each in session.get_inputs()] == list(given)
    found = session.run(None, {name: tensor.numpy() for name, tensor in given.items()})
    return [torch.from_numpy(array) for array in found]


def check(model: Density, folder: Path, format: str, directions: tuple[str, ...]) -> None:
    """All directions, for one example and for several, against the model itself."""
    context: dict[str, Tensor] = {}
    for what in directions:
        done = export(model, folder / f"graph{format}", what)
        assert done.error <= 1e-4
        for n in (1, 4):
            named = {port.name: port for port in done.inputs}
            if "context" in named:
                context = {"context": torch.arange(n) % 3 if model.classes else torch.randn(n, 3)}
            noises = model.draw_noises(n, generator=torch.Generator().manual_seed(n))
            with torch.no_grad():
                x, log_p = model.decode(noises, context.get("context"))
                wanted: list[Tensor] = [x, log_p]
                given = {f"noise_{i}": noise for i, noise in enumerate(noises)}
                if what == "encode":
                    given = {"x": x}
                    codes, log_p = model.encode(x, context.get("context"), glowkit.MIDPOINT)
                    wanted = [*codes, log_p]
                if what == "log-prob":
                    draws = {p: torch.randn(n, *named[p].shape) for p in named if p[:5] == "draw_"}
                    given = {"x": x} | draws
                    source = Handed(iter(draws.values()))
                    wanted = [model.log_prob(x, context.get("context"), source)]
            found = run(done.path, given | context)
            assert [port.name for port in done.outputs][-1] == "log_p"
            assert len(found) == len(wanted) == len(done.outputs)
            for one, other in zip(found, wanted, strict=True):
                if one.is_floating_point():
                    dims = sum(noise[0].numel() for noise in noises)
                    assert torch.allclose(one, other, rtol=1e-5, atol=1e-4 * dims**0.5)
                else:
                    assert torch.equal(one, other)
            assert (found[-1] - wanted[-1]).abs().max() / x[0].numel() < 1e-4


def test_a_glow_is_decoded_by_a_program_of_torch(tmp_path: Path) -> None:
    check(glow(), tmp_path, ".pt2", ("decode",))


@pytest.mark.slow
@pytest.mark.parametrize("format", exporting.FORMATS)
@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"coupling": "mixture", "components": 2},
        {"coupling": "spline"},
        {"classes": 3},
        {"dequantization": "variational", "dequantization_steps": 1, "dequantization_width": 4},
        {"permutation": "reverse", "kept_half": "second", "preprocessing": "logit"},
    ],
    ids=lambda settings: "-".join(map(str, settings.values())) or "plain",
)
def test_glows_in_all_directions(settings: dict[str, Any], format: str, tmp_path: Path) -> None:
    if format == ".onnx":
        pytest.importorskip("onnxruntime", reason="needs ONNX: pip install 'glowkit[export]'")
        pytest.importorskip("onnxscript", reason="needs ONNX: pip install 'glowkit[export]'")
    # Roots of mixtures are hundreds of operations each, for which ONNX's exporter takes minutes;
    # and where a pixel is clamped, a learned density of its noise magnifies the last bit.
    known = format == ".pt2" or not {"mixture", "variational"} & set(settings.values())
    check(glow(**settings), tmp_path, format, exporting.WHAT if known else ("encode", "log-prob"))


@pytest.mark.slow
def test_a_file_of_onnx_that_differs_is_not_written(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime", reason="needs ONNX: pip install 'glowkit[export]'")
    model = glow(dequantization="variational", dequantization_steps=1, dequantization_width=4)
    with pytest.raises(GlowkitError, match="it was not written"):
        export(model, tmp_path / "a.onnx", "decode")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
@pytest.mark.parametrize("format", exporting.FORMATS)
@pytest.mark.parametrize("context", [0, 3])
def test_points_in_all_directions(context: int, format: str, tmp_path: Path) -> None:
    if format == ".onnx":
        pytest.importorskip("onnxruntime", reason="needs ONNX: pip install 'glowkit[export]'")
        pytest.importorskip("onnxscript", reason="needs ONNX: pip install 'glowkit[export]'")
    check(points(context_features=context), tmp_path, format, exporting.WHAT)


FAMILIES = {
    "realnvp-tiny": ({"width": 8}, exporting.WHAT),
    "jet-tiny": ({"couplings": 2, "width": 12}, exporting.WHAT),
    "nice-tiny": ({"width": 8}, exporting.WHAT),
    "nsf-points": ({"steps": 1, "width": 8}, exporting.WHAT),
    "ffjord-points": ({}, exporting.WHAT),
    "matching-points": ({"divergence": "hutchinson"}, exporting.WHAT),
    "vflow-points": ({"steps": 1, "width": 8}, exporting.WHAT),
    "cif-points": ({"steps": 1, "width": 8}, ("decode", "log-prob")),
    "residual-points": ({}, ("encode", "log-prob")),
    "ar-tiny": ({"layers": 1}, ("encode", "log-prob")),
    "tarflow-tiny": ({"blocks": 1}, ("encode", "log-prob")),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", FAMILIES)
def test_families(name: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    settings, directions = FAMILIES[name]
    model = glowkit.build(dataclasses.replace(glowkit.PRESETS[name], **settings))
    shape = model.shape or ()
    whole = model.levels is not None
    x = torch.randint(0, 17, (32, *shape), dtype=torch.uint8) if whole else torch.randn(64, *shape)
    glowkit.initialize(model, x)
    check(model, tmp_path, ".pt2", directions)


def test_bad_requests_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = glow()
    with pytest.raises(GlowkitError, match="there is no 'sample' to export; choose one of decode"):
        export(model, tmp_path / "a.pt2", "sample")
    with pytest.raises(GlowkitError, match=r"a name in .onnx or .pt2, not a.pt"):
        export(model, tmp_path / "a.pt")
    fresh = glowkit.build(glowkit.GlowConfig((1, 4, 4), **TINY))
    with pytest.raises(GlowkitError, match="has not seen data yet"):
        export(fresh, tmp_path / "a.pt2")
    monkeypatch.setattr(exporting, "find_spec", lambda name: None)
    with pytest.raises(GlowkitError, match="pip install 'glowkit\\[export\\]'"):
        export(model, tmp_path / "a.onnx")
    assert list(tmp_path.iterdir()) == []


def test_families_that_are_no_graph_are_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(GlowkitError, match="decode of a model of family autoregressive cannot"):
        export(glowkit.build("ar-tiny"), tmp_path / "a.pt2")
    with pytest.raises(GlowkitError, match="decode of a model of family residual cannot"):
        export(glowkit.build("residual-points"), tmp_path / "a.pt2")
    with pytest.raises(GlowkitError, match="estimated by a random number of terms"):
        export(glowkit.build("residual-tiny"), tmp_path / "a.pt2", "log-prob")


@pytest.mark.parametrize("wrong", [1.0, torch.nan])
def test_a_graph_that_differs_is_not_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wrong: float
) -> None:
    found = iter([1e-7, wrong])
    monkeypatch.setattr(exporting, "_difference", lambda *_: torch.tensor(next(found)))
    with pytest.raises(GlowkitError, match=r"differs from the model by (1|nan) "):
        export(StandardNormal((2,)), tmp_path / "a.pt2", "log-prob")
    assert list(tmp_path.iterdir()) == []

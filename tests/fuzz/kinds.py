"""The kinds of files that are read: good ones to damage, how, and what reads them."""

import gzip
import io
import pickle
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

import glowkit
from fuzz.mutations import (
    BYTES,
    TEXT,
    Mutation,
    Rng,
    change_json,
    change_member,
    change_safetensors,
    change_value,
    change_yaml,
    one_of,
)
from glowkit.cli.opened import Opened
from glowkit.core import Density
from glowkit.data import open_source, read_picture
from glowkit.data.fashion import read_idx
from glowkit.data.labelled import read_labels
from glowkit.models import importers
from glowkit.tasks import Attributes, load_attributes, save_attributes
from glowkit.training import TrainConfig
from glowkit.training.batches import Epochs
from glowkit.training.config import make_optimizer
from glowkit.training.metrics import read_rows, rows_until
from glowkit.training.parts import Part, read_parts, write_part
from glowkit.training.run import RunFolder, read_settings, write_settings
from glowkit.training.state import (
    Checkpoint,
    Ema,
    Plan,
    RunState,
    fit_optimizer,
    resume_point,
    write_checkpoint,
)
from models.importers.test_likelihood import LAYOUTS, write

GLOW = glowkit.GlowConfig((1, 4, 4), levels=1, steps=1, width=4, pixel_levels=8)
OTHERS = (
    glowkit.GlowConfig((1, 4, 4), levels=1, steps=1, width=2, permutation="shuffle", classes=3),
    glowkit.NICEConfig((1, 2, 2), width=3, depth=1),
    glowkit.RealNVPConfig((1, 4, 4), levels=1, blocks=0, width=1),
    glowkit.PointsConfig(steps=1, width=3, depth=1),
)


@dataclass(frozen=True)
class Kind:
    """make: good files, in a folder that it may fill; the paths of those to damage. read: all that
    a user can do with such a file, given its path."""

    make: Callable[[Path], list[Path]]
    mutate: Mutation
    read: Callable[[Path], object]


def _trained(config: Any) -> Density:
    """A model that has seen data, which is as much as reading it needs."""
    model, generator = glowkit.build(config), torch.Generator().manual_seed(0)
    if isinstance(config, glowkit.PointsConfig):
        examples = torch.randn(8, config.dimensions, generator=generator)
    else:
        examples = torch.randint(config.pixel_levels, (8, *config.image_shape), generator=generator)
    glowkit.initialize(model, examples, torch.arange(8) % 3 if config.classes else None)
    return model


def _models(root: Path) -> list[Path]:
    folders = []
    for number, config in enumerate((GLOW, *OTHERS)):
        model = _trained(config)
        for old in (False, True):
            folder = glowkit.save(model, root / f"{number}{'-old' * old}")
            if old:
                save_file(load_file(folder / "model.safetensors"), folder / "model.safetensors")
            folders.append(folder)
    return folders


def _use(folder: Path) -> None:
    model = glowkit.load(folder)
    classes = model.config.classes
    context = torch.zeros(2, dtype=torch.int64) if classes else None
    model.log_prob(model.sample(2, context=context), context)


def _checkpoint(root: Path) -> list[Path]:
    folder, model = RunFolder(root), glowkit.build(GLOW)
    optimizer = make_optimizer("adamw", model, 1e-3, 0.0)
    for parameter in model.parameters():
        parameter.grad = torch.ones_like(parameter)
    optimizer.step()
    state = RunState(step=7, elapsed=3.5, best_figure=2.5, best_step=5)
    content = (model.state_dict(), Ema(model, 0.9).state_dict(), optimizer.state_dict())
    write_settings(root, {"spec": "digits"}, GLOW, TrainConfig(epochs=3))
    write_checkpoint(folder.checkpoint, Checkpoint(state, 100, *content))
    return [folder.checkpoint]


def _resume(path: Path) -> None:
    folder, model = RunFolder(path.parent.parent), glowkit.build(GLOW)
    plan = Plan(TrainConfig(epochs=3), Epochs(100, 10, 0))
    checkpoint = resume_point(folder, plan, model)
    if checkpoint is not None:
        Ema(model, 0.9).load_state_dict(checkpoint.ema)
        optimizer = make_optimizer("adamw", model, 1e-3, 0.0)
        fit_optimizer(optimizer, checkpoint.optimizer, path)
        for parameter in model.parameters():
            parameter.grad = torch.ones_like(parameter)
        optimizer.step()


def _damaged_pickle(rng: Rng, data: bytes) -> bytes:
    """Tensors of other shapes, types and names in a sound file, or a pickle that runs code."""
    if rng.random() < 0.1:
        return pickle.dumps(Runs(), protocol=int(rng.integers(5)))
    held = torch.load(io.BytesIO(data), weights_only=True)
    state = held.get("model", held.get("net", held))
    names = list(state)
    name = names[int(rng.integers(len(names)))]
    tensor = state[name]
    match int(rng.integers(12)):
        case 0:
            del state[name]
        case 1:
            state[name] = tensor.expand(10**6, *tensor.shape)
        case 2:
            state[name] = tensor.flatten()[:1]
        case 3:
            state[name] = tensor.to((torch.complex64, torch.int8, torch.float16)[len(name) % 3])
        case 4:
            state[name.replace("0", "9" * int(rng.choice([1, 8, 5000])))] = state.pop(name)
        case 5:
            state[name] = tensor.double() * float("nan")
        case 6:
            state[name] = [tensor]
        case 7:
            state[name] = tensor[..., None].repeat_interleave(2, -1)
        case 8:
            state[name] = torch.zeros(0)
        case 9:
            state[int(rng.integers(9))] = tensor
        case 10:
            state[name] = torch.zeros(3).to_sparse()
        case _:
            held = change_value(rng, held)
    buffer = io.BytesIO()
    torch.save(held, buffer)
    return buffer.getvalue()


class Runs:
    """A pickle of it runs a command when it is read."""

    def __reduce__(self) -> Any:
        import os

        return os.system, ("touch canary",)


def _config_yaml(root: Path) -> list[Path]:
    paths = []
    for number, config in enumerate((GLOW, *OTHERS)):
        run = root / str(number)
        names = ("a", "b", "c") if config.classes else ()
        write_settings(run, {"spec": "digits", "size": 8}, config, TrainConfig(epochs=3), names)
        paths.append(RunFolder(run).config)
    return paths


def _metrics(root: Path) -> list[Path]:
    head = "step,epoch,elapsed_seconds,train_bits_per_dim,validation_bits_per_dim\n"
    rows = [f"{25 * k},{k / 4},{k * 1.5},{4 - k / 50:.6f},{'nan' * (k % 2)}\n" for k in range(40)]
    (root / "metrics.csv").write_text(head + "".join(rows))
    return [root / "metrics.csv"]


def _read_metrics(path: Path) -> None:
    rows_until(path, 500)
    read_rows(path)


def _attributes(root: Path) -> list[Path]:
    names = ("smiling", "bald", "0")
    found = Attributes(
        names,
        torch.randn(3, 16),
        (5, 6, 7),
        (8, 9, 10),
        (0.5, float("nan"), 1.0),
        torch.linspace(1, 3, 101),
        "mean",
    )
    save_attributes(found, root / "attributes.safetensors", "weights")
    return [root / "attributes.safetensors"]


def _use_attributes(path: Path) -> None:
    found = load_attributes(path, "weights")
    found.shift(dict.fromkeys(found.names, 0.5))
    found.percentile(2.0)
    sum(found.auroc) + sum(found.positives) + sum(found.negatives)


def _latents(root: Path) -> list[Path]:
    rng = np.random.default_rng(0)
    for dtype in ("float32", "float64"):
        noises = rng.normal(size=(5, 16)).astype(dtype)
        np.savez(root / f"{dtype}.npz", noises=noises, sizes=[16], context=np.arange(5) % 3)
    return [root / "float32.npz", root / "float64.npz"]


_OPENED: dict[int, Opened] = {}


def _decode(path: Path) -> None:
    from glowkit.cli import latents
    from glowkit.tasks.latent import Rows

    for config in (GLOW, OTHERS[0]):
        if config.classes not in _OPENED:
            model, device = _trained(config), torch.device("cpu")
            _OPENED[config.classes] = Opened(model, device, None, path.parent)
        opened, rows = _OPENED[config.classes], Rows(path, "noises")
        context = latents._check(opened, rows)
        for _ in latents._decoded(opened, rows, context, 2):
            pass


def _arrays(root: Path) -> list[Path]:
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (12, 6, 6), dtype=np.uint8)
    np.save(root / "gray.npy", images)
    np.save(root / "float.npy", rng.random((12, 8, 8, 3), dtype=np.float32))
    np.save(root / "fortran.npy", np.asfortranarray(images))
    np.save(root / "object.npy", np.array([Runs()] * 12, dtype=object), allow_pickle=True)
    np.savez(root / "labelled.npz", images=images, labels=np.arange(12) % 3, pixel_levels=256)
    np.savez_compressed(root / "packed.npz", images=images)
    return sorted([*root.glob("*.npy"), *root.glob("*.npz")])


def _all_images(path: Path) -> None:
    source = open_source(str(path))
    for split in source.splits.values():
        split.__getitems__(np.arange(len(split)))


def _images(root: Path) -> list[Path]:
    rng = np.random.default_rng(0)
    colour = Image.fromarray(rng.integers(0, 256, (9, 9, 3), dtype=np.uint8))
    deep = Image.fromarray(rng.integers(0, 65536, (9, 9)).astype(np.uint16))
    for suffix in ("png", "jpg", "gif", "bmp", "webp", "tif", "ppm"):
        colour.save(root / f"colour.{suffix}")
    colour.convert("RGBA").save(root / "alpha.png")
    colour.convert("P").save(root / "palette.png")
    colour.convert("1").save(root / "bits.png")
    colour.save(root / "interlaced.jpg", progressive=True)
    deep.save(root / "deep.png")
    deep.save(root / "deep.tif", compression="tiff_deflate")
    return sorted(root.iterdir())


def _picture(path: Path) -> None:
    read_picture(path, (1, 8, 8), 17)
    read_picture(path, (3, 9, 9), 256)
    if path.stem == "deep":
        read_picture(path, (1, 9, 9), 65536)


def _labels(root: Path) -> list[Path]:
    rng = np.random.default_rng(0)
    rows = rng.choice([-1, 1], (30, 4))
    csv = "image_id,smiling,young,bald,male\n"
    csv += "".join(f"{k:06d}.jpg,{','.join(map(str, row))}\n" for k, row in enumerate(rows))
    (root / "table.csv").write_text(csv)
    celeba = "30\nSmiling Young Bald Male\n"
    celeba += "".join(f"{k:06d}.jpg  {'  '.join(map(str, row))}\n" for k, row in enumerate(rows))
    (root / "list_attr_celeba.txt").write_text(celeba)
    return sorted(root.iterdir())


def _idx(root: Path) -> list[Path]:
    pixels = np.random.default_rng(0).integers(0, 256, (10, 5, 5), dtype=np.uint8)
    data = bytes([0, 0, 8, 3]) + struct.pack(">III", *pixels.shape) + pixels.tobytes()
    (root / "images-idx3-ubyte").write_bytes(data)
    (root / "images-idx3-ubyte.gz").write_bytes(gzip.compress(data, mtime=0))
    (root / "labels-idx1-ubyte").write_bytes(
        bytes([0, 0, 8, 1]) + struct.pack(">I", 10) + bytes(10)
    )
    return sorted(root.iterdir())


def _parts(root: Path) -> list[Path]:
    figures = {"bits_per_dim": 2.5, "standard_error": 0.1, "images": 10, "levels": 8}
    figures["importance_samples"] = 1
    write_part(root, Part("figures-test", "figures", figures, {"data": "digits"}, "abc"))
    write_part(root, Part("section-x", "section", {"title": "X", "text": "y"}, png=b"\x89PNG"))
    return sorted((root / "report").iterdir())


def _import(format: str) -> Kind:
    def make(root: Path) -> list[Path]:
        tensors = LAYOUTS[format].checkpoint()
        return [write(root / "checkpoint", format, tensors)]

    def read(path: Path) -> None:
        model = importers.import_model(path, format, size=8)
        images = torch.zeros(1, *model.config.image_shape, dtype=torch.uint8)
        model.log_prob(images, torch.zeros(1, dtype=torch.int64) if model.config.classes else None)

    packed = (change_member,) * 4
    other = packed if format == "openai" else (*packed, *(_damaged_pickle,) * 8)
    return Kind(make, one_of(*BYTES, *other), read)


def _of_folder(read: Callable[[Path], object]) -> Callable[[Path], object]:
    return lambda path: read(path.parent)


def _named(name: str) -> Callable[[Path], list[Path]]:
    return lambda root: [folder / name for folder in _models(root)]


KINDS: Mapping[str, Kind] = {
    "config": Kind(_named("config.json"), one_of(*TEXT, *(change_json,) * 18), _of_folder(_use)),
    "model": Kind(
        _named("model.safetensors"), one_of(*BYTES, *(change_safetensors,) * 8), _of_folder(_use)
    ),
    "checkpoint": Kind(
        _checkpoint, one_of(*BYTES, *(change_member,) * 4, *(_damaged_pickle,) * 12), _resume
    ),
    "settings": Kind(_config_yaml, one_of(*TEXT, *(change_yaml,) * 18), read_settings),
    "metrics": Kind(_metrics, one_of(*TEXT), _read_metrics),
    "attributes": Kind(_attributes, one_of(*BYTES, *(change_safetensors,) * 12), _use_attributes),
    "latents": Kind(_latents, one_of(*BYTES, *(change_member,) * 12), _decode),
    "arrays": Kind(_arrays, one_of(*BYTES, *(change_member,) * 6), _all_images),
    "images": Kind(_images, one_of(*BYTES), _picture),
    "labels": Kind(_labels, one_of(*TEXT), read_labels),
    "idx": Kind(_idx, one_of(*BYTES), read_idx),
    "parts": Kind(_parts, one_of(*TEXT, *(change_json,) * 12), lambda p: read_parts(p.parents[1])),
    **{f"import-{format}": _import(format) for format in importers.FORMATS},
}
"""By name, as the worker takes them."""

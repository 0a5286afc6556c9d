"""Models on disk: damage is refused by name, old ones are noted, nothing is built too early."""

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

import glowkit
from glowkit import GlowConfig, GlowkitError, GlowkitWarning, build, load, save
from glowkit.models import Config, preset, store
from glowkit.models.checks import MOST_LAYERS, check_buildable, demand
from glowkit.models.families import count_parameters

CONFIG = GlowConfig((1, 8, 8), levels=2, steps=2, width=8, pixel_levels=17, permutation="shuffle")
WEIGHT = "density.density.bijection.bijections.1.bijections.0.bijections.2.net.first.weight"
INDICES = "density.density.bijection.bijections.1.bijections.0.bijections.1.indices"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return save(build(CONFIG), tmp_path / "model")


@pytest.fixture
def no_building(monkeypatch: pytest.MonkeyPatch) -> None:
    def built(*_: object) -> None:
        raise AssertionError("a model was built")

    monkeypatch.setattr(store, "outline", built)


def rewrite(folder: Path, **changes: object) -> None:
    about = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(about | changes))


def make_old(folder: Path, **tensors: torch.Tensor) -> None:
    """As before weights had a checksum."""
    held = load_file(folder / "model.safetensors")
    for name, tensor in tensors.items():
        assert name in held
        held[name] = tensor
    save_file(held, folder / "model.safetensors")


def test_what_was_saved_is_loaded(folder: Path) -> None:
    before = build(CONFIG)
    save(before, folder)
    after = load(folder)
    assert after.config == CONFIG
    for name, tensor in before.state_dict().items():
        assert torch.equal(tensor, after.state_dict()[name])


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_every_dtype_has_its_checksum(tmp_path: Path, dtype: torch.dtype) -> None:
    assert load(save(build(CONFIG).to(dtype), tmp_path)).anchor.dtype == dtype


@pytest.mark.parametrize("file", ["config.json", "model.safetensors"])
def test_every_flipped_bit_is_seen(folder: Path, file: str) -> None:
    path, generator = folder / file, np.random.default_rng(0)
    whole = path.read_bytes()
    header = 8 + int.from_bytes(whole[:8], "little")
    places = generator.integers(0, len(whole), 60).tolist()
    if file == "model.safetensors":
        places += [*generator.integers(0, header, 60).tolist(), 0, 7, header - 1, header]
    for place in places:
        damaged = bytearray(whole)
        damaged[place] ^= 1 << int(generator.integers(8))
        path.write_bytes(damaged)
        with pytest.raises(GlowkitError) as error:
            load(folder)
        assert "\n" not in str(error.value)


def test_a_model_without_a_checksum_is_noted(folder: Path) -> None:
    make_old(folder)
    with pytest.warns(GlowkitWarning, match=r"model\.safetensors has no checksum"):
        load(folder)


def test_a_lost_checksum_is_damage(folder: Path) -> None:
    path = folder / "model.safetensors"
    save_file(load_file(path), path, {"settings": "{}"})
    with pytest.raises(GlowkitError, match="checksum"):
        load(folder)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_broken_weights_are_named(folder: Path, value: float) -> None:
    model = build(CONFIG)
    with torch.no_grad():
        model.get_parameter(WEIGHT)[0, 0, 0, 0] = value
    before = {path: path.read_bytes() for path in folder.iterdir()}
    with pytest.raises(GlowkitError, match=f"not saved.*{WEIGHT}.*NaN or infinity"):
        save(model, folder)
    assert {path: path.read_bytes() for path in folder.iterdir()} == before
    make_old(folder, **{WEIGHT: model.state_dict()[WEIGHT]})
    with pytest.warns(GlowkitWarning), pytest.raises(GlowkitError, match=f"damaged.*{WEIGHT}"):
        load(folder)


def test_broken_buffers_are_named(folder: Path) -> None:
    model = build(preset("realnvp-tiny"))
    name = next(name for name, _ in model.named_buffers() if name.endswith("variance"))
    model.get_buffer(name).fill_(float("nan"))
    with pytest.raises(GlowkitError, match=name):
        save(model, folder)


def test_a_wrong_permutation_is_named(folder: Path) -> None:
    make_old(folder, **{INDICES: torch.tensor([0, 1, 2, 2])})
    with pytest.warns(GlowkitWarning), pytest.raises(GlowkitError, match=f"{INDICES} is no perm"):
        load(folder)


def test_a_run_folder_is_taken_for_its_model(tmp_path: Path) -> None:
    save(build(CONFIG), tmp_path / "run" / "model")
    (tmp_path / "run" / "config.yaml").write_text("")
    assert load(tmp_path / "run").config == CONFIG
    assert load(str(tmp_path / "run" / "model")).config == CONFIG


@pytest.mark.parametrize("example", ["digits", "emoji"])
def test_shipped_models_have_a_checksum(example: str) -> None:
    load(Path(glowkit.__file__).parents[2] / "examples" / example)


def test_folders_that_hold_no_model(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "new").mkdir()
    (tmp_path / "new" / "config.yaml").write_text("")
    (tmp_path / "file").write_text("")
    for name, words in {
        "empty": "not a glowkit model or run",
        "new": "holds no model yet",
        "file": "not a folder",
        "nowhere": "no such folder",
        "a" * 300: "no such folder",
        "nul\0l": "no such folder",
    }.items():
        with pytest.raises(GlowkitError, match=words):
            load(tmp_path / name)


def test_a_kill_between_the_two_files_leaves_a_model(folder: Path) -> None:
    old = (folder / "config.json").read_bytes()
    save(build(CONFIG), folder)
    (folder / "config.json").write_bytes(old)
    load(folder)
    # A config.json of an older version lacks what newer ones have; it says the same.
    about = json.loads(old)
    del about["dequantization_width"]
    (folder / "config.json").write_text(json.dumps(about))
    load(folder)


BAD_SETTINGS: dict[str, tuple[dict[str, object], str]] = {
    "many steps": ({"steps": 100_000}, "do not fit its config.json"),
    "steps beyond the tensors": ({"steps": 90}, "do not fit its config.json"),
    "wide": ({"width": 10**12}, "width is 1000000000000; it must be at most"),
    "wider than the file": ({"width": 60_000}, "do not fit its config.json"),
    "many levels": ({"levels": 10**9}, "halvings"),
    "many channels": ({"image_shape": [10**6, 8, 8]}, "do not fit its config.json"),
    "huge images": ({"image_shape": [1, 2**40, 2**40]}, "at most"),
    "text for a number": ({"steps": "2"}, "whole number"),
    "truth for a number": ({"steps": True}, "whole number"),
    "list for a number": ({"steps": [2]}, "whole number"),
    "nothing for a number": ({"steps": None}, "whole number"),
    "fraction": ({"steps": 2.5}, "whole number"),
    "number for a shape": ({"image_shape": 8}, "image_shape"),
    "text for a shape": ({"image_shape": "188"}, "image_shape"),
    "truth in a shape": ({"image_shape": [True, 8, 8]}, "image_shape"),
    "list for a word": ({"coupling": ["affine"]}, "coupling"),
    "number for a word": ({"coupling": 3}, "coupling"),
    "number for a truth": ({"learn_top": 1}, "true or false"),
    "list for a family": ({"family": ["glow"]}, "family"),
    "another family": ({"family": "nice"}, "has no setting"),
    "unknown setting": ({"stepz": 2}, "'stepz'"),
    "long unknown setting": ({"s" * 100_000: 2}, "no setting"),
    "newer": ({"format_version": 10**30}, "newer glowkit"),
    "version zero": ({"format_version": 0}, "damaged"),
    "no version": ({"format_version": None}, "damaged"),
    "many couplings": ({"family": "flowpp", "couplings": [[10**9, 0]]}, "no setting"),
}


@pytest.mark.parametrize("case", BAD_SETTINGS)
@pytest.mark.usefixtures("no_building")
def test_settings_are_checked_before_anything_is_built(folder: Path, case: str) -> None:
    changes, words = BAD_SETTINGS[case]
    make_old(folder)
    rewrite(folder, **changes)
    with pytest.raises(GlowkitError, match=words) as error:
        load(folder)
    assert len(str(error.value)) < 1000
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"[]",
        b"3",
        b"null",
        b'{"format": "glowkit"',
        b'{"format": "glowkit", "format": "glowkit"}',
        b'{"format": "glowkit", "steps": NaN}',
        b'{"format": "glowkit", "steps": -Infinity}',
        b'{"format": "glowkit", "steps": 1e400}',
        b'{"format": "glowkit", "steps": ' + b"9" * 5000 + b"}",
        b"[" * 100_000,
        b'{"a":' * 100_000,
        b"[" * 500 + b"]" * 500,
        b"\xff\xfe{}",
        b"\xef\xbb\xbf{}",
        b"\x00" * 100,
        b" " * 2_000_000,
    ],
    ids=range(17),
)
@pytest.mark.usefixtures("no_building")
def test_a_config_that_is_none(folder: Path, text: bytes) -> None:
    (folder / "config.json").write_bytes(text)
    with pytest.raises(GlowkitError, match=r"config\.json") as error:
        load(folder)
    assert "\n" not in str(error.value)


def test_weights_that_are_none(folder: Path) -> None:
    path = folder / "model.safetensors"
    whole = path.read_bytes()
    for bad in (b"", b"\xff" * 100, (10**9).to_bytes(8, "little") + whole[8:], whole[:-1]):
        path.write_bytes(bad)
        with pytest.raises(GlowkitError, match="truncated or damaged"):
            load(folder)
    path.unlink()
    path.mkdir()
    with pytest.raises(GlowkitError, match="not a whole glowkit model"):
        load(folder)


def configs() -> Iterator[tuple[str, Config]]:
    yield from glowkit.PRESETS.items()
    for coupling in ("additive", "mixture", "spline", "tanh-affine"):
        yield coupling, GlowConfig((1, 8, 8), levels=2, steps=2, width=8, coupling=coupling)
    for permutation in ("conv1x1-plain", "shuffle", "reverse"):
        yield (
            permutation,
            GlowConfig((3, 8, 8), levels=1, steps=1, width=1, permutation=permutation),
        )
    yield "labels", GlowConfig((1, 4, 4), levels=1, steps=1, width=1, classes=1000)
    yield "small", glowkit.PointsConfig(depth=0, steps=1, width=1)
    yield "cube", glowkit.CubeConfig(5, rounds=2, coupling="linear", bins=3, width=5)
    yield "cube, one-blob", glowkit.CubeConfig(16, encoding="one-blob", depth=0)
    yield "cube of one dimension", glowkit.CubeConfig(1)
    yield "no blocks", glowkit.RealNVPConfig((1, 8, 8), blocks=0, width=1)


@pytest.mark.parametrize("name", dict(configs()))
def test_the_demand_of_a_config_is_a_bound(name: str) -> None:
    config = dict(configs())[name]
    with torch.device("meta"):
        state = build(config).state_dict()
    least = demand(config)
    assert least.layers <= len(state)
    numbers = sum(tensor.numel() for tensor in state.values())
    assert least.numbers <= numbers <= 64 * least.numbers


@pytest.mark.parametrize(
    ("config", "words"),
    [
        (GlowConfig((1, 8, 8), levels=2, steps=100_000, width=8), f"{MOST_LAYERS:,}"),
        (GlowConfig((1, 8, 8), levels=2, steps=1, width=10**9), "GiB"),
        (GlowConfig((10**6, 8, 8), levels=2, steps=1, width=8), "GiB"),
        (glowkit.NICEConfig((3, 20_000, 20_000)), "GiB"),
        (glowkit.NICEConfig((1, 8, 8), couplings=10**9), f"{MOST_LAYERS:,}"),
        (glowkit.RealNVPConfig((1, 8, 8), blocks=10**8), f"{MOST_LAYERS:,}"),
        (glowkit.PointsConfig(width=10**8), "GiB"),
        (glowkit.PointsConfig(dimensions=10**8), "GiB"),
        (glowkit.CubeConfig(width=10**8), "GiB"),
        (glowkit.CubeConfig(dimensions=10**9), "GiB"),
        (glowkit.CubeConfig(rounds=10**6), f"{MOST_LAYERS:,}"),
        (glowkit.FlowPPConfig((3, 32, 32), couplings=((0, 10**9),)), f"{MOST_LAYERS:,}"),
        (glowkit.FlowPPConfig((3, 32, 32), width=4 * 10**7), "GiB"),
    ],
)
def test_a_model_that_nobody_could_build(config: Config, words: str) -> None:
    with pytest.raises(GlowkitError, match=words):
        build(config)


def test_what_nobody_could_build_is_not_counted_either() -> None:
    for config in (
        GlowConfig((1, 8, 8), levels=2, steps=100_000, width=8),
        GlowConfig((1, 8, 8), levels=2, steps=1, width=2**31 - 1),
        glowkit.FlowPPConfig((1, 8, 8), couplings=((0, 10**6),)),
    ):
        with pytest.raises(GlowkitError, match=r"GiB|layers"):
            count_parameters(config)


def test_a_bound_that_does_not_tell_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    config = preset("flowpp-tiny")
    monkeypatch.setattr("glowkit.models.checks._free_memory", lambda: 4.0 * 100_000)
    with pytest.raises(GlowkitError, match="170,048 weights"):
        build(config)
    monkeypatch.setattr("glowkit.models.checks._free_memory", lambda: 4.0 * 200_000)
    build(config)


def test_nothing_is_counted_where_the_bound_tells() -> None:
    def count() -> int:
        raise AssertionError("counted")

    check_buildable(preset("glow-tiny"), count)


def test_only_configs_are_built() -> None:
    for wrong in (None, 3, {"family": "glow"}, object()):
        with pytest.raises(GlowkitError, match="not the config of a model"):
            build(wrong)  # type: ignore[arg-type]

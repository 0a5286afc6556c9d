"""NICE as the specification has it: counts, order of the couplings, prior, refusals."""

import pytest
import torch

import glowkit
from glowkit.densities import Then
from glowkit.models import NICEConfig, count_parameters, from_settings, to_settings

TINY = NICEConfig((1, 4, 4), width=16, depth=2, pixel_levels=17)


def images(config: NICEConfig, n: int = 8) -> torch.Tensor:
    size = (n, *config.image_shape)
    return torch.randint(0, config.pixel_levels, size, dtype=torch.uint8)


def shaken(config: NICEConfig) -> glowkit.Density:
    torch.manual_seed(0)
    model = glowkit.build(config)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return model


def test_the_parameter_count_is_the_published_models() -> None:
    assert count_parameters("nice-mnist") == 19_158_352


def test_a_fresh_flow_reorders_and_no_more() -> None:
    """Even pixels first, odd ones second, and four reversals, which undo each other."""
    model = glowkit.build(TINY)
    assert isinstance(model.density, Then)
    v = torch.arange(16.0).reshape(1, 1, 4, 4)
    z, ladj = model.density.bijection(v)
    assert z.tolist() == [[*range(0, 16, 2), *range(1, 16, 2)]]
    assert ladj.item() == 0


def test_only_the_final_scaling_changes_volume() -> None:
    model = shaken(TINY)
    scale = model.density.bijection.bijections[-1].log_scale
    _, ladj = model.density.bijection(torch.rand(3, 1, 4, 4))
    assert torch.allclose(ladj, scale.sum())


def test_initialisation_gives_every_dimension_variance_one_once() -> None:
    model, batch = glowkit.build(TINY), images(TINY, 64)
    batch[:, :, 0, 0] = 3  # constant but for the noise of dequantization
    glowkit.initialize(model, batch)
    (z,), _ = model.encode(batch)
    assert (z.std(0) - 1).abs().max() < 0.2
    assert glowkit.initialize(model, images(TINY, 64)) == 0


@pytest.mark.parametrize("shape", [(1, 4, 4), (3, 5, 3), (1, 1, 2)])
@pytest.mark.parametrize("prior", ["logistic", "normal"])
def test_round_trip(shape: tuple[int, int, int], prior: str) -> None:
    config = NICEConfig(shape, width=16, depth=2, prior=prior)
    model, batch = shaken(config), images(config)
    assert model.noise_specs()[0].distribution == prior
    assert torch.equal(glowkit.reconstruct(model, batch), batch)
    assert model.sample(2).shape == (2, *shape)


def test_every_dimension_is_changed_by_some_coupling() -> None:
    """Of an odd size too, where the halves are unequal."""
    config = NICEConfig((1, 3, 3), couplings=2, width=16, depth=1)
    model = shaken(config).double()
    v = torch.rand(1, 9, dtype=torch.float64)
    jac = torch.autograd.functional.jacobian(
        lambda t: model.density.bijection(t.reshape(1, 1, 3, 3))[0], v
    ).reshape(9, 9)
    assert ((jac != 0).sum(1) > 1).all()


@pytest.mark.parametrize(
    ("setting", "word"),
    [
        ({"prior": "gauss"}, "logistic"),
        ({"couplings": 1}, "at least 2"),
        ({"classes": 10}, "classes to 0"),
        ({"memory": "disk"}, "checkpoint"),
        ({"image_shape": (1, 1, 1)}, "at least two"),
    ],
)
def test_a_setting_that_cannot_be_is_refused_by_name(setting: dict, word: str) -> None:
    with pytest.raises(glowkit.GlowkitError, match=word):
        NICEConfig(**{"image_shape": (1, 8, 8), **setting})


def test_settings_survive_a_file() -> None:
    assert from_settings(to_settings(TINY)) == TINY

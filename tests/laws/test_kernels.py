"""Gradients written by hand are those of finite differences, or of autograd."""

import pytest
import torch
from torch.nn import functional as F

from glowkit.bijections.affine_kernel import SigmoidAffine
from glowkit.bijections.folded_kernel import ScaledProduct
from glowkit.bijections.matrix_kernel import FromLU
from glowkit.nets.gradients import MANY_PIXELS, data_gradient, weight_gradient


def leaf(*shape: int) -> torch.Tensor:
    return torch.randn(shape, dtype=torch.float64).requires_grad_()


def test_product_of_lu_factors() -> None:
    torch.manual_seed(0)
    permutation, signs = torch.tensor([2, 0, 3, 1]), torch.tensor([1.0, -1.0, 1.0, -1.0])
    packed = leaf(4, 4)
    assert torch.autograd.gradcheck(lambda p: FromLU.apply(p, permutation, signs), packed)
    matrix, log_det = FromLU.apply(packed, permutation, signs)
    assert torch.allclose(log_det, torch.linalg.slogdet(matrix).logabsdet)


def test_scaled_product() -> None:
    torch.manual_seed(0)
    inputs = leaf(2, 3, 5), leaf(3, 3), leaf(3), leaf(3)
    before = [tensor.detach().clone() for tensor in inputs]
    assert torch.autograd.gradcheck(lambda *t: ScaledProduct.apply(*t, 3.0), inputs)
    assert all(torch.equal(a, b) for a, b in zip(before, inputs, strict=True))


def test_sigmoid_affine() -> None:
    torch.manual_seed(0)
    assert torch.autograd.gradcheck(SigmoidAffine.apply, (leaf(2, 3, 4), leaf(2, 3, 2, 4)))


@pytest.mark.parametrize("kernel", [1, 3])
@pytest.mark.parametrize(("inputs", "outputs"), [(2, 5), (5, 2), (3, 3)])
def test_convolution(kernel: int, inputs: int, outputs: int) -> None:
    torch.manual_seed(0)
    x, weight = leaf(2, inputs, 4, 6), leaf(outputs, inputs, kernel, kernel)
    y = F.conv2d(x, weight, padding=kernel // 2)
    grad = torch.randn_like(y)
    wanted = torch.autograd.grad(y, (x, weight), grad)
    last = [t.detach().contiguous(memory_format=torch.channels_last) for t in (grad, x, weight)]
    torch.testing.assert_close(data_gradient(*last), wanted[0])
    torch.testing.assert_close(weight_gradient(*last), wanted[1])


@pytest.mark.parametrize("side", [8, 64])
def test_weight_gradient_of_few_and_of_many_pixels(side: int) -> None:
    torch.manual_seed(0)
    grad, x = torch.randn(2, 5, side, side), torch.randn(2, 3, side, side)
    last = [t.contiguous(memory_format=torch.channels_last) for t in (grad, x)]
    assert (grad[:, 0].numel() >= MANY_PIXELS) == (side == 64)
    found = weight_gradient(*last, torch.empty(5, 3, 1, 1))
    wanted = torch.einsum("noyx,niyx->oi", grad.double(), x.double())
    torch.testing.assert_close(found[:, :, 0, 0].double(), wanted, atol=1e-3, rtol=1e-4)

"""The paths that the laws are checked on: plain torch in both precisions, and compiled kernels."""

import pytest
import torch

PATHS = {"float64": torch.float64, "float32": torch.float32, "kernels": torch.float32}


@pytest.fixture(params=PATHS)
def dtype(request: pytest.FixtureRequest) -> torch.dtype:
    """The dtype of a path, which is taken meanwhile."""
    request.getfixturevalue("kernels" if request.param == "kernels" else "plain")
    return PATHS[request.param]


@pytest.fixture(params=["float32", "kernels"])
def single(request: pytest.FixtureRequest) -> torch.dtype:
    """Those in float32."""
    request.getfixturevalue("kernels" if request.param == "kernels" else "plain")
    return torch.float32

"""A multilayer perceptron for vectors and points."""

from itertools import pairwise

from torch import Tensor, cat, nn


class MLP(nn.Module):
    """Linear → ReLU, `depth` times, then a linear layer that starts as zero.

    Shapes: (N, in_features) to (N, out_features). A context (N, context_features) is appended to
    the input.
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        width: int,
        depth: int = 2,
        context_features: int = 0,
    ) -> None:
        super().__init__()
        widths = [in_features + context_features, *[width] * depth]
        layers: list[nn.Module] = []
        for a, b in pairwise(widths):
            layers += [nn.Linear(a, b), nn.ReLU()]
        last = nn.Linear(widths[-1], out_features)
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)
        self.layers = nn.Sequential(*layers, last)
        self.context_features = context_features

    @property
    def reads_context(self) -> bool:
        return self.context_features > 0

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        if self.context_features:
            if context is None:
                raise ValueError("this conditioner needs a context and got none")
            x = cat([x, context], dim=1)
        return self.layers(x)

"""Glow in FrEIA: `AllInOneBlock`, whose rotation of the channels is fixed rather than learned."""

from functools import partial

import torch
from FrEIA.framework import GraphINN, InputNode, Node, OutputNode
from FrEIA.modules import AllInOneBlock, IRevNetDownsampling, Split
from torch import Tensor

from benchmarks.case import CHANNELS, Case
from benchmarks.subjects.flow import Flow
from benchmarks.subjects.nets import plain_net


class Subject(Flow):
    """`GraphINN`: coupling, actnorm and a fixed rotation in each step, so less work than Glow's."""

    def __init__(self, case: Case) -> None:
        super().__init__()
        net = partial(plain_net, width=case.width, precision=case.precision)
        settings = {"subnet_constructor": net, "permute_soft": True}
        nodes = [InputNode(CHANNELS, case.size, case.size)]
        node = nodes[0]
        for level in range(case.levels):
            node = Node(node, IRevNetDownsampling, {})
            nodes.append(node)
            for _ in range(case.steps):
                node = Node(node, AllInOneBlock, settings)
                nodes.append(node)
            if level < case.levels - 1:
                node = Node(node, Split, {})
                nodes += [node, OutputNode(node.out1)]
                node = node.out0
        nodes.append(OutputNode(node))
        self.flow = GraphINN(nodes)

    def log_prob(self, images: Tensor) -> Tensor:
        noises, ladj = self.flow(images)
        noises = [noises] if isinstance(noises, Tensor) else noises
        normal = torch.distributions.Normal(0.0, 1.0)
        return ladj + sum(normal.log_prob(z).flatten(1).sum(1) for z in noises)

    @torch.no_grad()
    def sample(self, n: int) -> Tensor:
        noises = [torch.randn(n, *shape) for shape in self.flow.global_out_shapes]
        return self.flow(noises, rev=True, jac=False)[0]

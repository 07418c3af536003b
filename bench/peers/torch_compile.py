"""PyTorch with torch.compile: gather, forward, backward and update are one compiled function."""

import torch
from torch import nn

from ..tasks import Array, TrainingTask


def loss(parameters: list[torch.Tensor], x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """Return the cross-entropy; parameters are a weight, (out, in), and a bias for each layer."""
    for weight, bias in zip(parameters[:-2:2], parameters[1:-2:2], strict=True):
        x = nn.functional.linear(x, weight, bias).relu()
    return nn.functional.cross_entropy(nn.functional.linear(x, *parameters[-2:]), y)


class Trainer:
    """The compiled step over all batches; a smaller last batch takes it uncompiled."""

    def __init__(self, task: TrainingTask) -> None:
        torch.set_num_threads(task.threads)
        self.task = task
        self.X, self.y = torch.from_numpy(task.scaled()), torch.from_numpy(task.y)
        self.batches = torch.from_numpy(task.order).split(task.batch_size)
        self.reset()
        self.compiled = torch.compile(self.step, dynamic=False, fullgraph=True)

    def reset(self) -> None:
        pairs = zip(self.task.weights, self.task.biases, strict=True)
        values = [torch.from_numpy(array.T.copy()) for pair in pairs for array in pair]
        if not hasattr(self, "tensors"):
            self.tensors = values
        for tensor, value in zip(self.tensors, values, strict=True):
            tensor.copy_(value)

    @staticmethod
    def step(
        parameters: list[torch.Tensor],
        X: torch.Tensor,
        y: torch.Tensor,
        rows: torch.Tensor,
        lr: float,
    ) -> None:
        gradients = torch.func.grad(loss)(parameters, X[rows], y[rows])
        for parameter, gradient in zip(parameters, gradients, strict=True):
            parameter.sub_(gradient, alpha=lr)

    @torch.no_grad()
    def epoch(self) -> None:
        for rows in self.batches:
            step = self.compiled if len(rows) == self.task.batch_size else self.step
            step(self.tensors, self.X, self.y, rows, self.task.lr)

    def parameters(self) -> tuple[list[Array], list[Array]]:
        return [w.numpy().T for w in self.tensors[::2]], [b.numpy() for b in self.tensors[1::2]]

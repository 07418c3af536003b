"""PyTorch, eager: tensors made once, batches by index, the quickest form of its SGD."""

from typing import Any

import torch
from torch import nn

from ..tasks import Array, NetworkTask, PredictionTask, ProductTask, TrainingTask
from . import quickest


def network(task: NetworkTask) -> nn.Sequential:
    """Return the layers, without the softmax."""
    torch.set_num_threads(task.threads)
    modules: list[nn.Module] = []
    for w in task.weights:
        modules += [nn.Linear(*w.shape), nn.ReLU()]
    net = nn.Sequential(*modules[:-1])
    assign(net, task)
    return net


def linear(net: nn.Sequential) -> list[nn.Linear]:
    """Return the layers that have parameters."""
    return [module for module in net if isinstance(module, nn.Linear)]


def assign(net: nn.Sequential, task: NetworkTask) -> None:
    """Copy the task's parameters into a network."""
    with torch.no_grad():
        for layer, w, b in zip(linear(net), task.weights, task.biases, strict=True):
            layer.weight.copy_(torch.from_numpy(w.T))
            layer.bias.copy_(torch.from_numpy(b))


class Trainer:
    """The usual loop: loss, backward, step."""

    def __init__(self, task: TrainingTask) -> None:
        self.task, self.net = task, network(task)
        self.X, self.y = torch.from_numpy(task.scaled()), torch.from_numpy(task.y)
        self.batches = torch.from_numpy(task.order).split(task.batch_size)
        forms: list[dict[str, Any]] = [{"fused": True}, {"foreach": True}, {"foreach": False}]
        optimizers = [torch.optim.SGD(self.net.parameters(), task.lr, **form) for form in forms]
        self.optimizer = quickest(optimizers, lambda choice: self.step(self.batches[0], choice))

    def reset(self) -> None:
        assign(self.net, self.task)

    def loss(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return nn.functional.cross_entropy(self.net(x), y)

    def step(self, rows: torch.Tensor, optimizer: torch.optim.Optimizer) -> None:
        x, y = self.X.index_select(0, rows), self.y.index_select(0, rows)
        self.loss(x, y).backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    def epoch(self) -> None:
        for rows in self.batches:
            self.step(rows, self.optimizer)

    def parameters(self) -> tuple[list[Array], list[Array]]:
        layers = linear(self.net)
        weights = [layer.weight.detach().numpy().T for layer in layers]
        return weights, [layer.bias.detach().numpy() for layer in layers]


class Predictor:
    """The layers and a softmax in inference mode."""

    def __init__(self, task: PredictionTask) -> None:
        self.net, self.X = network(task).append(nn.Softmax(dim=1)).eval(), task.scaled()

    @torch.inference_mode()
    def predict(self) -> Array:
        y: torch.Tensor = self.net(torch.from_numpy(self.X))
        return y.numpy()


class Product:
    """`torch.mm` into a tensor that is there; transposed views are not copied."""

    def __init__(self, task: ProductTask) -> None:
        torch.set_num_threads(task.threads)
        a, b = torch.from_numpy(task.a), torch.from_numpy(task.b)
        self.a = a.t() if task.transpose_a else a
        self.b = b.t() if task.transpose_b else b
        self.out = torch.empty(self.a.shape[0], self.b.shape[1])

    def multiply(self) -> Array:
        torch.mm(self.a, self.b, out=self.out)
        return self.out.numpy()

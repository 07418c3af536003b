from collections.abc import Callable, Sequence
from typing import Any

import numpy.typing as npt

from .optimizers import State
from .sparse import SparseRows

Array = npt.NDArray[Any]
Samples = Array | SparseRows
# predictions, rows, gradient to fill -> the batch's mean
LossFunction = Callable[[Array, Array, Array], float]
# code: index into LOSSES, its parameter, its weights, its scale; or code, function, None, 1
Loss = tuple[int, float, Array | None, float] | tuple[int, LossFunction, None, float]

# code: index into OPTIMIZERS, beta1, beta2, epsilon, weight_decay, epsilon_hat
Rule = tuple[int, float, float, float, float, bool]
# l1, l2, penalty_per_sample; clip_norm, max_norm and ema with 0 for none
Regularization = tuple[float, float, bool, float, float, float]
Optimizer = tuple[Rule, Regularization]

# sums of losses and of weights, hits, samples, steps
Totals = tuple[float, float, int, int, int, float]

ACTIVATIONS: tuple[str, ...]
LOSSES: tuple[str, ...]
OPTIMIZERS: tuple[str, ...]
ALIGNMENT: int

def available_isas() -> tuple[str, ...]: ...
def get_isa() -> str: ...
def set_isa(name: str) -> None: ...
def set_exchange(exchange: int) -> None: ...
def compiler() -> str: ...
def set_num_threads(n: int) -> None: ...
def get_num_threads() -> int: ...
def get_free_threads() -> int: ...
def matmul_plain(
    a: object, b: object, transpose_a: object, transpose_b: object, out: object
) -> Array | None: ...
def matmul(a: Array, b: Array, transpose_a: bool, transpose_b: bool, out: Array) -> None: ...
def dense_forward(x: Samples, w: Array, b: Array | None, activation: int, out: Array) -> None: ...
def dense_backward(dy: Array, x: Array, w: Array, dx: Array, dw: Array, db: Array) -> None: ...
def activate(activation: int, z: Array, out: Array) -> None: ...
def activate_backward(activation: int, dy: Array, y: Array, out: Array) -> None: ...
def loss_gradient(
    loss: Loss, predictions: Array, targets: Array, weights: Array | None, gradient: Array
) -> float: ...
def sgd_update(params: Array, grads: Array, lr: float) -> None: ...
def all_finite(x: Array, double_precision: bool) -> bool: ...
def shuffle(seed: int, epoch: int, order: Array, part: int = 0) -> None: ...

class Network:
    def __init__(self, double_precision: bool, layers: Sequence[tuple[int, int, int]]) -> None: ...
    @property
    def n_parameters(self) -> int: ...
    def layout(self, layer: int) -> tuple[int, int, int]: ...
    def model(self, parameters: Array) -> object: ...
    def training_workspace(
        self,
        x: Samples,
        loss: Loss,
        optimizer: Optimizer | None,
        dropout: Array | None,
        batch_size: int,
        threads: int,
    ) -> int: ...
    def train_epoch(
        self,
        parameters: Array,
        x: Samples,
        y: Array,
        weights: Array | None,
        loss: Loss,
        optimizer: Optimizer,
        state: State,
        batch_size: int,
        threads: int,
        rates: Array,
        counting: tuple[bool, float],
        shuffle: bool,
        seed: int,
        epoch: int,
        part: int,
        dropout: Array | None,
        first: int,
        before: Totals,
        workspace: Array,
        progress: Callable[[float, float, int, int, int, float], object] | None,
        poll_seconds: float,
    ) -> tuple[Totals, bool]: ...
    def gradient(
        self,
        parameters: Array,
        x: Samples,
        y: Array,
        weights: Array | None,
        loss: Loss,
        threads: int,
        gradient: Array,
        workspace: Array,
    ) -> tuple[float, float, int]: ...
    def predict(self, parameters: Array, x: Samples, logits: bool, out: Array) -> bool: ...
    def evaluate(
        self, parameters: Array, x: Samples, y: Array, weights: Array | None, loss: Loss
    ) -> tuple[float, float, int] | None: ...

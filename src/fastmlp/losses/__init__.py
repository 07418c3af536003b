"""The losses that networks are trained on.

`fm.MLP` takes one by its name, as an object with parameters, or as a function of yours:

>>> import fastmlp as fm
>>> net = fm.MLP([64, 32, 10], loss=fm.losses.Focal(gamma=2.0))

Losses for softmax and sigmoid outputs, and Poisson's for exp, are computed from what goes into the
activation, in a form that is stable for logits up to 1e4 and beyond. The loss of a batch is the
mean over its samples, with weights sum(w_i L_i) / sum(w_i), and L_i is the mean over a sample's
outputs, for cross-entropy and focal loss of a softmax the sum over its classes. Dice over the batch
is an exception, which it describes. Every loss has a keyword `scale`, a factor of the loss and its
gradient.

A function f(predictions, targets) returns the mean loss of a batch and its gradient with respect to
the predictions. It sees what the other losses see: behind softmax, sigmoid and exp what goes into
the activation, (n, n_outputs), else the output itself; and the targets as class indices, (n,)
int64, or values, (n, n_outputs). Where samples have weights it is also given
sample_weight=weights, (n,) float64. All losses of `fm.ops` are such functions.
"""

from .base import Loss
from .classification import BinaryCrossEntropy, CrossEntropy, Dice, Focal
from .python_loss import LossFunction, PythonLoss
from .regression import Huber, MeanAbsoluteError, MeanSquaredError, Poisson
from .resolve import NAMES, AnyLoss, MissingLoss, default, describe, from_description, get, label

__all__ = [
    "NAMES",
    "AnyLoss",
    "BinaryCrossEntropy",
    "CrossEntropy",
    "Dice",
    "Focal",
    "Huber",
    "Loss",
    "LossFunction",
    "MeanAbsoluteError",
    "MeanSquaredError",
    "MissingLoss",
    "Poisson",
    "PythonLoss",
    "default",
    "describe",
    "from_description",
    "get",
    "label",
]

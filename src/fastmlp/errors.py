"""Exceptions of the package's own."""


class NotFiniteError(ArithmeticError):
    """The engine met a loss, a weight or a sample that is not finite; callers say which and why."""


class DivergenceError(ArithmeticError):
    """Training produced a loss or a weight that is not finite.

    Raised by `fit`. The network is then as it was before the call: weights, biases, count of
    trained epochs and history. The usual causes are a learning rate too large for the data and
    features that were not scaled; the message says where in the fit it happened and what to try.
    """

"""Exceptions of the package's own."""


class NotFiniteError(ArithmeticError):
    """An epoch met a loss or a weight that is not finite; `fit` makes a DivergenceError of it."""


class DivergenceError(ArithmeticError):
    """Training produced a loss or a weight that is not finite.

    Raised by `fit`. The network is then as it was before the call: weights, biases, count of
    trained epochs and history. The usual causes are a learning rate too large for the data and
    features that were not scaled; the message says where in the fit it happened and what to try.
    """

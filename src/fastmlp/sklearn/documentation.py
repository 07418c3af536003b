"""What the estimators' docstrings say alike."""

from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T", bound=type)

PARAMETERS = """
    hidden_layer_sizes
        The width of each hidden layer; an integer is one layer.
    activation
        Of the hidden layers: a name for all of them, or a sequence of one for each. Scikit-learn's
        identity, logistic, tanh and relu, or one of `fastmlp.MLP`.
    solver
        "adam"; "sgd", with momentum; or "lbfgs", which minimizes the loss over all samples at once.
    alpha
        Strength of the L2 penalty alpha / 2 sum w^2 over the weights, divided by the number of the
        batch's samples, or by the sum of their weights.
    batch_size
        Samples to a step; "auto" is min(200, n_samples).
    learning_rate
        With "sgd": "constant", "invscaling" for learning_rate_init / (t_ + 1)^power_t from epoch to
        epoch, or "adaptive", which divides it by 5 each time the fit would otherwise end for want
        of progress. With every solver but "lbfgs": an object of `fastmlp.schedules`, or a function
        f(step) that returns the rate; then `learning_rate_init` is not used.
    learning_rate_init
        The learning rate.
    power_t
        See `learning_rate`.
    max_iter
        Epochs, or iterations of "lbfgs", at most.
    shuffle
        Whether each epoch visits the samples in a new order. It is not scikit-learn's, so that
        with it results differ by chance.
    random_state
        Of the initial weights, which are scikit-learn's, of the samples that `early_stopping` sets
        aside, likewise, and of orders and dropout.
    tol
        A fit ends when for more than n_iter_no_change epochs in a row the training loss, or with
        `early_stopping` the score, has not improved by tol; "lbfgs" when no element of the gradient
        is larger.
    verbose
        Whether to print the loss of each epoch.
    warm_start
        Whether `fit` goes on from what it learned before. Parameters that have been changed hold
        from then on, but for `hidden_layer_sizes`.
    momentum, nesterovs_momentum
        Of "sgd".
    early_stopping
        Whether to set samples aside, unless `fit` is given some, measure the score on them after
        each epoch, let it decide when to end, and keep the weights of the best epoch. The score is
        {score}, or the eval metric.
    validation_fraction
        The share of the samples to set aside.
    beta_1, beta_2, epsilon
        Of "adam".
    n_iter_no_change
        See `tol`; infinity for never.
    max_fun
        How often "lbfgs" evaluates the loss at most.{own}
    optimizer
        What makes the steps in place of the solver: a name or an object of `fastmlp.optimizers`.
    dropout, input_dropout
        The chance of each output of the hidden layers, one number or one for each layer, and of
        each feature, to count as 0 in a step of training; see `fastmlp.MLP.fit`. Not with "lbfgs".
    callbacks
        Objects of `fastmlp.Callback`. Those of scikit-learn are given to `set_callbacks`, with any
        solver, where the installed version has them.
    dtype
        "float32" or "float64", of the network. None is scikit-learn's rule: float32 for X of
        float32, else float64, and always that with "lbfgs". float32 takes about half the time.
        Predictions have the network's dtype.
    eval_metric
        What to measure after each epoch on the samples that `early_stopping` sets aside or that
        `fit` is given; without either it has no effect. "loss"; "accuracy" or "f1" of classes, "r2"
        of numbers; a function f(y_true, y_pred) of what `predict` returns, the greater the better;
        or a `fastmlp.Metric`. See `fastmlp.MLP.fit`.
    l1
        Strength of the L1 penalty l1 sum |w|, divided as that of `alpha`. This and the next three
        are for all solvers but "lbfgs".
    clip_norm, max_norm
        Greatest norms of the gradient, and of the weights into each unit, or None; see
        `fastmlp.MLP.fit`.
    ema
        Decay of an exponential moving average of all parameters, which takes their place after each
        epoch, or None; see `fastmlp.MLP.fit`.
    checkpoint, resume
        A `fastmlp.Checkpoint`, or the name of a file for one after each epoch; and whether `fit`
        goes on from it where it is there. A fit that was killed and is called again in the same way
        then leaves the same bits as one that never was. Needs an integer as `random_state`; not
        with `partial_fit` or "lbfgs"."""

ATTRIBUTES = """
    network_
        The `fastmlp.MLP`: to save, to convert, to look at.
    coefs_, intercepts_
        Lists of weights, (fan_in, fan_out), and of biases, (fan_out,), of the layers: the network's
        own arrays, which can be written to. Assigning to an item copies into them.
    history_
        The `fastmlp.History` of the last fit; not with "lbfgs".
    loss_, loss_curve_, best_loss_
        Training loss of the last epoch, of all epochs, and the least. `best_loss_` is None with
        `early_stopping`.
    validation_scores_, best_validation_score_
        With `early_stopping` the score after each epoch, and the best; else None. A metric of which
        less is better counts with a minus, as scikit-learn's scorers do.
    n_iter_, t_
        Epochs of the last fit; samples seen since the network was new.
    n_layers_, n_outputs_, out_activation_
        Layers, the input counted; outputs, and their activation by scikit-learn's name.
    n_features_in_, feature_names_in_
        Of the X that was fitted."""


def documented(own: str, score: str) -> Callable[[T], T]:
    """Fill in the shared parts of a class's docstring.

    Parameters
    ----------
    own
        Parameters that only this class has after scikit-learn's, with their descriptions.
    score
        What scores are by default.
    """

    def fill(cls: T) -> T:
        assert cls.__doc__ is not None
        parameters = PARAMETERS.format(own=own, score=score)
        cls.__doc__ = cls.__doc__.format(
            parameters=parameters.strip(), attributes=ATTRIBUTES.strip()
        )
        return cls

    return fill

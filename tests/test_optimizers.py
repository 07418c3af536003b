"""Optimizers: their steps against the reference, PyTorch and scikit-learn, and what they keep."""

import copy
import pickle

import numpy as np
import pytest
from test_bits import NETWORKS, assert_threads_agree, bits, problem

import fastmlp as fm
from fastmlp import optimizers
from fastmlp.optimizers import SGD, Adam, AdamW, RMSprop

ENGINES = pytest.mark.parametrize("cls", [fm.MLP, fm.reference.MLP], ids=["engine", "reference"])

OPTIMIZERS = [
    SGD(),
    SGD(0.9),
    SGD(0.8, nesterov=True),
    Adam(),
    Adam(0.8, 0.95, 1e-3, epsilon_hat=True),
    AdamW(),
    AdamW(0.5, 0.9, 1e-2, 0.2),
    RMSprop(),
    RMSprop(0.9, 1e-4, 0.7),
]
every = pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=repr)

N, BATCH, LR = 75, 16, 0.01
STEPS = 3 * -(-N // BATCH)
"""Updates in three epochs."""


def data(dtype=np.float64, n=N):
    rng = np.random.default_rng(4)
    return rng.normal(size=(n, 11)).astype(dtype), rng.integers(4, size=n)


def network(cls=fm.MLP, dtype="float64"):
    net = cls([11, 19, 9, 4], ["tanh", "tanh", "softmax"], dtype=dtype, seed=3)
    for b in net.biases:
        b[...] = np.random.default_rng(5).normal(scale=0.1, size=b.shape)
    return net


def parameters(net):
    return [*net.weights, *net.biases]


def everything(net):
    """Return all that a fit changes."""
    kept = net._optimizer_state
    state = None if kept is None else (kept.optimizer, kept.steps, bits(kept.arrays()))
    return bits(parameters(net)), net.epochs_trained, net.history, state


def gentle(optimizer):
    """Return the optimizer with an epsilon that keeps the rounding of small gradients small.

    The quotient of a gradient and its own size is as wrong as the gradient is relative to itself,
    which has no bound; with epsilon it is off by at most the error over epsilon.
    """
    values = {**vars(optimizer), **({"epsilon": 0.1} if "epsilon" in vars(optimizer) else {})}
    return type(optimizer)(**values)


def tolerance(optimizer, dtype, steps=STEPS, lr=LR):
    """Return how far two trainings may differ that round differently.

    A gradient of sums of k < 64 terms of about unit size is off by 8 eps, a step by lr times that,
    over epsilon and times 1 / (1 - momentum); each step rounds the parameter by eps besides.
    """
    rule = optimizer.rule()
    gain = 1 / (1 - rule.beta1) / (min(rule.epsilon, 1) or 1)
    return steps * np.finfo(dtype).eps * (1 + 8 * lr * gain)


# Formulas -----------------------------------------------------------------------------------------


@every
def test_training_agrees_with_the_reference(optimizer, dtype, isa, threads):
    optimizer = gentle(optimizer)
    mine, other = network(fm.MLP, dtype), network(fm.reference.MLP, "float64")
    for p, q in zip(parameters(other), parameters(mine), strict=True):
        p[...] = q
    X, y = data(dtype)
    for net in (mine, other):
        net.fit(X, y, epochs=3, batch_size=BATCH, lr=LR, optimizer=optimizer)
        assert net._optimizer_state.steps == STEPS
    for a, b in zip(parameters(mine), parameters(other), strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=tolerance(optimizer, dtype))


@every
def test_a_step_is_its_formula(optimizer, dtype):
    """Two steps of one parameter, written out."""
    net = fm.MLP([1, 1], ["identity"], dtype=dtype)
    net.weights[0][...], net.biases[0][...] = 0.5, 0.25
    X, y = np.array([[2.0]]), np.array([[0.0]])
    rule = optimizer.rule()
    w, u, m, v = np.array([0.5, 0.25]), np.zeros(2), np.zeros(2), np.zeros(2)
    for t in (1, 2):
        g = 2 * (2 * w[0] + w[1]) * np.array([2.0, 1.0])
        if isinstance(optimizer, SGD):
            m = rule.beta1 * m - LR * g
            w = w + (rule.beta1 * m - LR * g if optimizer.nesterov else m)
        else:
            v = rule.beta2 * v + (1 - rule.beta2) * g**2
            if isinstance(optimizer, RMSprop):
                u = rule.beta1 * u - LR * g / (np.sqrt(v) + rule.epsilon)
                w = w + u
            else:
                m = rule.beta1 * m + (1 - rule.beta1) * g
                root = np.sqrt(1 - rule.beta2**t)
                if rule.epsilon_hat:
                    change = root * m / (np.sqrt(v) + rule.epsilon)
                else:
                    change = m / (np.sqrt(v) / root + rule.epsilon)
                w = w - LR * rule.weight_decay * w - LR / (1 - rule.beta1**t) * change
        net.fit(X, y, epochs=1, lr=LR, optimizer=optimizer)
        mine = [net.weights[0][0, 0], net.biases[0][0]]
        np.testing.assert_allclose(mine, w, rtol=32 * np.finfo(dtype).eps)


def updated_by(step, net, X, y, epochs):
    """Train a reference network with gradients of whole batches and a step from elsewhere."""
    for _ in range(epochs):
        _, dw, db = net.loss_and_gradients(X, y)
        for p, new in zip(parameters(net), step(parameters(net), [*dw, *db]), strict=True):
            p[...] = new


@ENGINES
@every
def test_steps_are_those_of_pytorch(optimizer, cls, dtype):
    torch = pytest.importorskip("torch")
    if getattr(optimizer, "epsilon_hat", False):
        pytest.skip("PyTorch has no epsilon hat")
    optimizer = gentle(optimizer)
    values = vars(optimizer)
    X, y = data(dtype)
    net, other = network(cls, dtype), network(fm.reference.MLP, dtype)
    tensors = [torch.from_numpy(p.copy()) for p in parameters(other)]
    betas = (values.get("beta1"), values.get("beta2"))
    kind = {
        SGD: lambda: torch.optim.SGD(tensors, lr=LR, **values),
        Adam: lambda: torch.optim.Adam(tensors, LR, betas, values["epsilon"]),
        AdamW: lambda: torch.optim.AdamW(
            tensors, LR, betas, values["epsilon"], values["weight_decay"]
        ),
        RMSprop: lambda: torch.optim.RMSprop(
            tensors, LR, values["rho"], values["epsilon"], momentum=values["momentum"]
        ),
    }
    theirs = kind[type(optimizer)]()

    def step(_, gradients):
        for tensor, gradient in zip(tensors, gradients, strict=True):
            tensor.grad = torch.from_numpy(np.ascontiguousarray(gradient))
        theirs.step()
        return [tensor.numpy() for tensor in tensors]

    updated_by(step, other, X, y, 30)
    net.fit(X, y, epochs=30, batch_size=N, shuffle=False, lr=LR, optimizer=optimizer)
    for a, b in zip(parameters(net), parameters(other), strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=tolerance(optimizer, dtype, 30))


@pytest.mark.parametrize("optimizer", [*OPTIMIZERS[:3], Adam(0.8, 0.9, 0.1, epsilon_hat=True)])
def test_steps_are_those_of_scikit_learn(optimizer):
    pytest.importorskip("sklearn")
    from sklearn.neural_network._stochastic_optimizers import AdamOptimizer, SGDOptimizer

    X, y = data()
    net, other = network(), network(fm.reference.MLP)
    if isinstance(optimizer, SGD):
        theirs = SGDOptimizer(
            parameters(other), LR, momentum=optimizer.momentum, nesterov=optimizer.nesterov
        )
    else:
        theirs = AdamOptimizer(
            parameters(other), LR, optimizer.beta1, optimizer.beta2, optimizer.epsilon
        )

    def step(now, gradients):
        theirs.update_params(now, gradients)
        return now

    updated_by(step, other, X, y, 30)
    net.fit(X, y, epochs=30, batch_size=N, shuffle=False, lr=LR, optimizer=optimizer)
    for a, b in zip(parameters(net), parameters(other), strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=tolerance(optimizer, "float64", 30))


@every
def test_they_learn(optimizer, isa):
    X, y, _, _ = fm.data.load("digits")
    X, y = X[:600], y[:600]
    net = fm.MLP([64, 32, 10])
    rate = 0.05 if isinstance(optimizer, SGD) else 0.003
    net.fit(X, y, epochs=20, lr=rate, optimizer=optimizer)
    assert net.score(X, y) > 0.9


# Bits ---------------------------------------------------------------------------------------------

KINDS = ["digits", "narrow", "wide", "wide, large batch", "wide, single samples", "regression"]


def trained(kind, dtype, x_kind, optimizer, convert=lambda X: X):
    net, X, y, batch_size = problem(kind, dtype, x_kind)
    net.fit(convert(X), y, epochs=2, batch_size=batch_size, lr=0.003, optimizer=optimizer)
    padding = np.ones(net._plan.n_parameters, bool)
    weights, biases = net._views(padding)
    for used in (*weights, *biases):
        used[...] = False
    assert not any(array[padding].any() for array in net._arrays())
    return net._parameters.copy(), [array.copy() for array in net._optimizer_state.arrays()]


@pytest.mark.parametrize("x_kind", ["float32", "images"])
@pytest.mark.parametrize("kind", KINDS)
def test_bits_do_not_depend_on_threads(kind, x_kind, dtype, isa):
    for optimizer in (SGD(0.9), AdamW(), RMSprop(momentum=0.5)):
        assert_threads_agree(lambda optimizer=optimizer: trained(kind, dtype, x_kind, optimizer))


@every
def test_bits_of_every_optimizer(optimizer, dtype):
    assert_threads_agree(lambda: trained("digits", dtype, "images", optimizer))
    fm.set_num_threads(1)
    expected = bits(trained("digits", dtype, "images", optimizer))
    fm.set_num_threads(7)
    assert bits(trained("digits", dtype, "images", optimizer)) == expected


@pytest.mark.parametrize("kind", ["digits", "one large batch", "wide", "wide, single samples"])
def test_sparse_samples_have_the_bits_of_dense_ones(kind, dtype, isa, threads):
    scipy_sparse = pytest.importorskip("scipy.sparse")
    assert kind in NETWORKS

    def dense(X):
        return X.astype(np.float32) / np.float32(255)

    def compressed(X):
        return scipy_sparse.csr_matrix(dense(X))

    for optimizer in (SGD(0.9), Adam(), RMSprop()):
        expected = trained(kind, dtype, "images", optimizer, dense)
        assert bits(trained(kind, dtype, "images", optimizer, compressed)) == bits(expected)


@every
def test_a_weight_without_gradient_goes_on(optimizer, dtype, threads):
    """Inputs that were not zero once and then are: the zeros are skipped, the momentum is not."""
    X, y = data(dtype)
    X[BATCH:, :6] = 0
    nets = [network(cls, dtype) for cls in (fm.MLP, fm.reference.MLP)]
    kind = gentle(optimizer)
    for net in nets:
        net.fit(X, y, epochs=3, batch_size=BATCH, shuffle=False, lr=LR, optimizer=kind)
    for a, b in zip(*map(parameters, nets), strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=2 * tolerance(kind, dtype))


def test_plain_sgd_is_what_it_was(dtype, threads):
    nets = [network(dtype=dtype) for _ in range(3)]
    X, y = data(dtype)
    for net, keywords in zip(nets, ({}, {"optimizer": "SGD"}, {"optimizer": SGD(0)}), strict=True):
        net.fit(X, y, epochs=2, **keywords)
        assert net.optimizer == SGD()
    assert len({bits(parameters(net)) for net in nets}) == 1
    # One step of it is a single fused multiply-add or two roundings.
    net = network(dtype=dtype)
    before, (_, gradients, _) = net.weights[0].copy(), net.loss_and_gradients(X, y)
    net.fit(X, y, epochs=1, batch_size=N, shuffle=False, lr=0.5)
    expected = before - dtype.type(0.5) * gradients[0]
    np.testing.assert_allclose(net.weights[0], expected, rtol=0, atol=4 * np.finfo(dtype).eps)


# State --------------------------------------------------------------------------------------------


@ENGINES
@every
def test_a_fit_goes_on_where_the_last_one_ended(optimizer, cls):
    X, y = data()
    at_once, by_one, anew = (network(cls) for _ in range(3))
    at_once.fit(X, y, epochs=3, optimizer=optimizer)
    for _ in range(3):
        by_one.fit(X, y, epochs=1, optimizer=copy.copy(optimizer))
    assert everything(by_one)[0] == everything(at_once)[0]
    assert everything(by_one)[3] == everything(at_once)[3]
    anew.fit(X, y, epochs=1, optimizer=optimizer)
    anew.fit(X, y, epochs=1, optimizer=SGD(0.123))
    anew.fit(X, y, epochs=1, optimizer=optimizer)
    assert anew._optimizer_state.steps == -(-N // 32)
    if optimizers.STATES[optimizer.rule().name]:
        assert everything(anew)[0] != everything(at_once)[0]


@pytest.mark.parametrize(
    "duplicate",
    [copy.copy, copy.deepcopy, lambda net: pickle.loads(pickle.dumps(net))],
    ids=["copy", "deepcopy", "pickle"],
)
def test_copies_carry_the_state(duplicate, dtype):
    X, y = data(dtype)
    net = network(dtype=dtype)
    net.fit(X, y, epochs=2, optimizer="adam")
    other = duplicate(net)
    assert everything(other) == everything(net)
    for mine, theirs in zip(net._arrays(), other._arrays(), strict=True):
        assert not np.shares_memory(mine, theirs)
        assert theirs.ctypes.data % fm._core.ALIGNMENT == 0
    before = everything(net)
    other.fit(X, y, epochs=1, optimizer="adam")
    assert everything(net) == before
    net.fit(X, y, epochs=1, optimizer="adam")
    assert everything(net)[0] == everything(other)[0]


def test_files_are_without_the_state(tmp_path):
    pytest.importorskip("safetensors")
    X, y = data()
    net = network()
    net.fit(X, y, epochs=1, optimizer="adam")
    net.save(tmp_path / "net.safetensors")
    loaded = fm.load(tmp_path / "net.safetensors")
    assert loaded.optimizer is None
    loaded.fit(X, y, epochs=1, optimizer="adam")
    assert loaded._optimizer_state.steps == -(-N // 32)


@ENGINES
@pytest.mark.parametrize("last", [SGD(0.9), Adam()], ids=repr)
def test_divergence_restores_the_state(last, cls, dtype):
    X, y = data(dtype)
    net = network(cls, dtype)
    net.fit(X, y, epochs=1, optimizer=SGD(0.9))
    before = everything(net)

    class Spoil(fm.Callback):
        def on_epoch_end(self, net, history):
            net.weights[0][0, 0] = np.nan

    with pytest.raises(fm.DivergenceError):
        net.fit(X, y, epochs=5, optimizer=last, callbacks=[Spoil()])
    assert everything(net) == before


@ENGINES
def test_a_moment_that_overflows_is_a_divergence(cls):
    X = 1000 * np.abs(data(np.float32)[0])
    net = cls([11, 3], ["identity"], dtype="float32")
    before = everything(net)
    # The loss and the gradients are within float32, squares of the gradients are not.
    with pytest.raises(fm.DivergenceError, match="not finite"):
        net.fit(X, np.full((N, 3), 1e18), epochs=1, batch_size=N, optimizer="rmsprop")
    assert everything(net) == before


@ENGINES
def test_an_interrupted_epoch_counts_its_steps(cls, monkeypatch):
    monkeypatch.setattr(fm.mlp, "POLL_SECONDS", 0.0)
    X, y = data()
    net = network(cls)
    seen = []

    class Stop(fm.Callback):
        def on_progress(self, net, progress):
            seen.append(progress.samples)
            raise InterruptedError

    with pytest.raises(InterruptedError):
        net.fit(X, y, epochs=1, batch_size=BATCH, optimizer="adam", callbacks=[Stop()])
    assert net._optimizer_state.steps == -(-seen[-1] // BATCH)


@ENGINES
def test_a_copy_made_within_an_epoch_counts_its_steps(cls, monkeypatch, threads):
    monkeypatch.setattr(fm.mlp, "POLL_SECONDS", 0.0)
    X, y = data()
    seen = []

    class Duplicate(fm.Callback):
        def on_progress(self, net, progress):
            steps = (progress.epoch - 1) * -(-N // BATCH) + -(-progress.samples // BATCH)
            seen.append((copy.deepcopy(net)._optimizer_state.steps, steps))

    network(cls).fit(X, y, epochs=2, batch_size=BATCH, optimizer="adam", callbacks=[Duplicate()])
    assert len(seen) >= 2
    assert all(counted == steps for counted, steps in seen)


# Arguments ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "kind", "words"),
    [
        (lambda: SGD(1), ValueError, "momentum must be in"),
        (lambda: SGD(-0.1), ValueError, "momentum must be in"),
        (lambda: SGD("0.9"), TypeError, "momentum must be a real"),
        (lambda: SGD(True), TypeError, "momentum must be a real"),
        (lambda: SGD(0.9, 1), TypeError, "nesterov must be True or False"),
        (lambda: SGD(nesterov=True), ValueError, "nesterov needs a momentum"),
        (lambda: Adam(beta1=1.0), ValueError, "beta1 must be in"),
        (lambda: Adam(beta2=float("nan")), ValueError, "beta2 must be finite"),
        (lambda: Adam(epsilon=0), ValueError, "epsilon must be greater"),
        (lambda: Adam(epsilon_hat="yes"), TypeError, "epsilon_hat must be"),
        (lambda: AdamW(weight_decay=-1), ValueError, "weight_decay must be at least 0"),
        (lambda: AdamW(weight_decay=None), TypeError, "weight_decay must be a real"),
        (lambda: RMSprop(rho=2), ValueError, "rho must be in"),
        (lambda: RMSprop(momentum=1), ValueError, "momentum must be in"),
        (lambda: RMSprop(epsilon=-1), ValueError, "epsilon must be greater"),
    ],
)
def test_bad_parameters(call, kind, words):
    with pytest.raises(kind, match=rf"^{words}"):
        call()


@ENGINES
@pytest.mark.parametrize(
    ("optimizer", "kind", "words"),
    [
        ("lbfgs", ValueError, "optimizer is 'lbfgs': known are sgd, adam, adamw, rmsprop"),
        (None, TypeError, "optimizer must be a name or an object"),
        (0.9, TypeError, "optimizer must be a name or an object"),
        (Adam, TypeError, "optimizer is the class Adam: pass an object"),
        (Adam(epsilon=1e-40), ValueError, "epsilon is out of the range of float32"),
        (RMSprop(epsilon=1e40), ValueError, "epsilon is out of the range of float32"),
    ],
)
def test_bad_optimizers(cls, optimizer, kind, words):
    net = network(cls, "float32")
    X, y = data()
    net.fit(X, y, epochs=1, optimizer="adam")
    before = everything(net)
    with pytest.raises(kind, match=rf"^{words}"):
        net.fit(X, y, optimizer=optimizer)
    assert everything(net) == before


def test_objects_are_values():
    assert optimizers.get("RMSProp") == RMSprop()
    assert Adam(0.8) == Adam(beta1=0.8) != Adam()
    assert len({SGD(), SGD(0.0), SGD(0)}) == 1
    assert repr(AdamW(weight_decay=0.1)) == (
        "AdamW(beta1=0.9, beta2=0.999, epsilon=1e-08, weight_decay=0.1)"
    )
    with pytest.raises(AttributeError):
        Adam().beta1 = 0.5
    for optimizer in OPTIMIZERS:
        assert pickle.loads(pickle.dumps(optimizer)) == optimizer
    assert set(optimizers.STATES) == set(fm._core.OPTIMIZERS)


def test_the_base_class_is_no_optimizer():
    net = fm.MLP([3, 2])
    with pytest.raises(TypeError, match="optimizer must be a name or an object of"):
        net.fit(np.ones((4, 3)), [0, 1, 0, 1], epochs=1, optimizer=fm.optimizers.Optimizer())

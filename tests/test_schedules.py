"""Learning rates by the step: their formulas, PyTorch's, and that the steps take them."""

import pickle

import numpy as np
import pytest
from test_bits import assert_threads_agree, bits, problem

import fastmlp as fm
from fastmlp.schedules import (
    Constant,
    Cosine,
    Exponential,
    InverseScaling,
    OneCycle,
    Rates,
    Schedule,
    Step,
    WarmUp,
    get,
)

ENGINES = pytest.mark.parametrize("cls", [fm.MLP, fm.reference.MLP], ids=["engine", "reference"])

PER_EPOCH, EPOCHS = 7, 9
TOTAL = PER_EPOCH * EPOCHS

SCHEDULES = [
    Constant(0.3),
    Step(0.3, 2),
    Step(0.3, 4, 0.7),
    Exponential(0.3, 0.9),
    Exponential(0.3, 1.05),
    InverseScaling(0.3),
    InverseScaling(0.3, 1.5),
    Cosine(0.3),
    Cosine(0.3, 0.01),
    OneCycle(0.3),
    OneCycle(0.3, 0.5, 5, 50),
    WarmUp(Cosine(0.3), epochs=2),
    WarmUp(0.3, steps=5, start=0.0),
    WarmUp(lambda step: 1 / (step + 2), epochs=0.5),
    get(lambda step: 0.2 if step % 2 else 0.1),
]
every = pytest.mark.parametrize("schedule", SCHEDULES, ids=repr)


def rates(schedule, total=TOTAL, per_epoch=PER_EPOCH):
    return Rates(schedule, total, per_epoch).of_steps(0, total)


# Formulas -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("schedule", "formula"),
    [
        (Constant(0.3), lambda s, e: 0.3),
        (Step(0.3, 2), lambda s, e: 0.3 * 0.1 ** (e // 2)),
        (Exponential(0.3, 0.9), lambda s, e: 0.3 * 0.9**e),
        (InverseScaling(0.3, 1.5), lambda s, e: 0.3 / (s + 1) ** 1.5),
        (Cosine(0.3, 0.01), lambda s, e: 0.01 + 0.145 * (1 + np.cos(np.pi * s / TOTAL))),
        (WarmUp(0.3, steps=5, start=0), lambda s, e: 0.3 * min(s / 5, 1)),
        (
            WarmUp(Step(0.3, 2), epochs=2, start=0.2),
            lambda s, e: 0.3 * (0.2 + 0.8 * s / 14) if e < 2 else 0.3 * 0.1 ** ((e - 2) // 2),
        ),
        (get(lambda step: step * 0.5), lambda s, e: s * 0.5),
    ],
    ids=repr,
)
def test_rates_are_their_formula(schedule, formula):
    expected = [formula(s, s // PER_EPOCH) for s in range(TOTAL)]
    # The cosine's sum cancels.
    bound = 8 * np.finfo(float).eps
    np.testing.assert_allclose(rates(schedule), expected, rtol=bound, atol=0.3 * bound)


def torch_rates(make, steps, every=1):
    """Return the rates of PyTorch's scheduler, stepped once each so many steps."""
    torch = pytest.importorskip("torch")
    lr_scheduler = torch.optim.lr_scheduler
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.3)
    scheduler = make(lr_scheduler, optimizer)
    found = []
    for step in range(steps):
        found.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        if (step + 1) % every == 0 and step + 1 < steps:
            scheduler.step()
    return found


@pytest.mark.parametrize(
    ("schedule", "make", "every"),
    [
        (Step(0.3, 2, 0.7), lambda s, o: s.StepLR(o, 2, 0.7), PER_EPOCH),
        (Exponential(0.3, 0.9), lambda s, o: s.ExponentialLR(o, 0.9), PER_EPOCH),
        (Cosine(0.3, 0.01), lambda s, o: s.CosineAnnealingLR(o, TOTAL, 0.01), 1),
        (OneCycle(0.3), lambda s, o: s.OneCycleLR(o, 0.3, TOTAL), 1),
        (
            OneCycle(0.3, 0.5, 5, 50),
            lambda s, o: s.OneCycleLR(
                o, 0.3, TOTAL, pct_start=0.5, div_factor=5, final_div_factor=50
            ),
            1,
        ),
        (
            WarmUp(Cosine(0.3), steps=10, start=0.2),
            lambda s, o: s.SequentialLR(
                o,
                [s.LinearLR(o, 0.2, total_iters=10), s.CosineAnnealingLR(o, TOTAL - 10)],
                [10],
            ),
            1,
        ),
    ],
    ids=repr,
)
def test_rates_are_those_of_pytorch(schedule, make, every):
    # PyTorch computes some of them from the rate before, which adds up rounding.
    expected = torch_rates(make, TOTAL, every)
    bound = 8 * TOTAL * np.finfo(float).eps
    np.testing.assert_allclose(rates(schedule), expected, rtol=bound, atol=0.3 * bound)


@every
@pytest.mark.parametrize("total", [1, 2, 3, 5])
def test_short_fits_have_rates(schedule, total):
    found = rates(schedule, total, total)
    assert found.shape == (total,)
    assert (found <= 1).all()


@pytest.mark.parametrize("schedule", [Cosine(0.3, 0.01), OneCycle(0.3), WarmUp(Cosine(0.3), 1)])
def test_rates_of_more_steps_than_expected_stay_at_their_end(schedule):
    after = Rates(schedule, TOTAL, PER_EPOCH).of_steps(TOTAL, TOTAL)
    assert (after == after[0]).all()
    assert after[0] <= rates(schedule)[-1]


@every
def test_parts_of_a_fit_have_its_rates(schedule):
    bound = Rates(schedule, TOTAL, PER_EPOCH)
    parts = [bound.of_steps(first, PER_EPOCH) for first in range(0, TOTAL, PER_EPOCH)]
    np.testing.assert_array_equal(np.concatenate(parts), rates(schedule))


# Training -----------------------------------------------------------------------------------------


def data(n=50):
    rng = np.random.default_rng(4)
    return rng.normal(size=(n, 11)), rng.integers(4, size=n)


def network(cls=fm.MLP, dtype="float64"):
    return cls([11, 9, 4], ["tanh", "softmax"], dtype=dtype, seed=3)


def parameters(net):
    return [*net.weights, *net.biases]


@pytest.mark.parametrize("optimizer", ["sgd", "adam", fm.optimizers.SGD(0.9)], ids=repr)
@every
def test_steps_take_their_rates(schedule, optimizer, threads):
    """50 samples in batches of 8 make 7 steps an epoch."""
    X, y = data()
    options = {"epochs": EPOCHS, "batch_size": 8, "optimizer": optimizer}
    net, other = network(), network(fm.reference.MLP)
    for n in (net, other):
        n.fit(X, y, lr=schedule, **options)
    by_number, found = network(), rates(schedule)
    by_number.fit(X, y, lr=lambda step: found[step], **options)
    assert bits(parameters(net)) == bits(parameters(by_number))
    # Both round each of the 63 steps of sums of up to 11 terms.
    bound = TOTAL * 64 * np.finfo(float).eps * (1e3 if optimizer == "adam" else 10)
    for a, b in zip(parameters(net), parameters(other), strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=bound)


def test_a_number_is_a_constant(dtype, threads):
    X, y = data()
    nets = [network(dtype=dtype) for _ in range(3)]
    for net, lr in zip(nets, (0.1, Constant(0.1), lambda step: 0.1), strict=True):
        net.fit(X, y, epochs=2, lr=lr)
    assert len({bits(parameters(net)) for net in nets}) == 1


class Growing(Constant):
    """Has rates of its own."""

    def rates(self, steps, total_steps, steps_per_epoch):
        return self.lr * (1 + steps)


def test_what_is_derived_from_a_constant_is_none():
    growing = Rates(Growing(0.5), 6, 3)
    np.testing.assert_array_equal(growing.of_steps(0, 3), [0.5, 1.0, 1.5])
    np.testing.assert_array_equal(growing.of_steps(3, 3), [2.0, 2.5, 3.0])


def test_constant_rates_of_several_lengths():
    constant = Rates(Constant(0.5), 6, 3)
    for count in (3, 3, 1, 0, 2):
        np.testing.assert_array_equal(constant.of_steps(0, count), [0.5] * count)


@ENGINES
def test_a_rate_of_zero_moves_nothing(cls):
    X, y = data()
    net = network(cls)
    before = bits(parameters(net))
    net.fit(X, y, epochs=2, lr=lambda step: 0)
    assert bits(parameters(net)) == before


@ENGINES
def test_a_function_is_called_once_a_step_epoch_by_epoch(cls):
    X, y = data()
    seen = []

    class Mark(fm.Callback):
        def on_epoch_end(self, net, history):
            seen.append("end")

    def rate(step):
        seen.append(step)
        return 0.1

    network(cls).fit(X, y, epochs=2, batch_size=25, lr=rate, callbacks=[Mark()])
    assert seen == [0, 1, "end", 2, 3, "end"]


@pytest.mark.parametrize("kind", ["digits", "wide", "wide, single samples", "narrow"])
def test_bits_do_not_depend_on_threads(kind, dtype):
    def trained(optimizer):
        net, X, y, batch_size = problem(kind, dtype, "images")
        schedule = OneCycle(0.05 if optimizer == "sgd" else 0.003)
        net.fit(X, y, epochs=2, batch_size=batch_size, lr=schedule, optimizer=optimizer)
        return parameters(net)

    for optimizer in ("sgd", "adam"):
        assert_threads_agree(lambda optimizer=optimizer: trained(optimizer))


# Arguments ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "kind", "words"),
    [
        (lambda: Constant(0), ValueError, "lr must be greater"),
        (lambda: Constant("0.1"), TypeError, "lr must be a real"),
        (lambda: Step(0.1, 0), ValueError, "every must be at least 1"),
        (lambda: Step(0.1, 1.5), TypeError, "every must be an integer"),
        (lambda: Step(0.1, 3, 0), ValueError, "factor must be greater"),
        (lambda: Exponential(0.1, -1), ValueError, "factor must be greater"),
        (lambda: Exponential(0.1, float("nan")), ValueError, "factor must be finite"),
        (lambda: InverseScaling(0.1, 0), ValueError, "power must be greater"),
        (lambda: Cosine(0.1, -0.1), ValueError, "end must be at least 0"),
        (lambda: Cosine(-0.1), ValueError, "lr must be greater"),
        (lambda: OneCycle(0.1, 1.5), ValueError, "rise must be in"),
        (lambda: OneCycle(0.1, start_divisor=0), ValueError, "start_divisor must be greater"),
        (lambda: OneCycle(0.1, end_divisor="1"), TypeError, "end_divisor must be a real"),
        (lambda: WarmUp(0.1), ValueError, "epochs or steps must be given"),
        (lambda: WarmUp(0.1, epochs=1, steps=1), ValueError, "epochs or steps must be given"),
        (lambda: WarmUp(0.1, epochs=0), ValueError, "epochs must be greater"),
        (lambda: WarmUp(0.1, steps=0), ValueError, "steps must be at least 1"),
        (lambda: WarmUp(0.1, steps=1, start=2), ValueError, "start must be in"),
        (lambda: WarmUp(-1, steps=1), ValueError, "then must be greater"),
        (lambda: WarmUp(Cosine, steps=1), TypeError, "then is the class Cosine"),
    ],
)
def test_bad_parameters(call, kind, words):
    with pytest.raises(kind, match=rf"^{words}"):
        call()


def everything(net):
    state = net._optimizer_state
    return bits(parameters(net)), net.history, net.epochs_trained, state and bits(state.arrays())


class Endless(Schedule):
    def rates(self, steps, total_steps, steps_per_epoch):
        return np.where(steps == 8, np.inf, 1e-3)


class Misshapen(Schedule):
    def rates(self, steps, total_steps, steps_per_epoch):
        return np.ones(3)


@ENGINES
@pytest.mark.parametrize(
    ("lr", "kind", "words"),
    [
        (Cosine, TypeError, "lr is the class Cosine: pass an object"),
        (lambda step: -1.0, ValueError, r"lr\(0\) must be at least 0, got -1.0"),
        (lambda step: [0.1] if step == 4 else 1e-3, TypeError, r"lr\(4\) must be a real"),
        (lambda step: np.inf if step == 5 else 1e-3, ValueError, r"lr\(5\) must be finite"),
        (Endless(), ValueError, "lr of step 8 is inf: rates must be finite"),
        (Misshapen(), ValueError, r"lr gives rates of shape \(3,\) for 4 steps"),
    ],
)
def test_bad_rates_leave_the_network_as_it_was(cls, lr, kind, words):
    X, y = np.zeros((16, 11)), np.zeros(16, int)
    net = network(cls)
    net.fit(X, y, epochs=1, optimizer="adam")
    before = everything(net)
    with pytest.raises(kind, match=rf"^{words}"):
        net.fit(X, y, epochs=3, batch_size=4, lr=lr, optimizer="adam")
    assert everything(net) == before


@ENGINES
def test_what_a_function_raises_reaches_the_caller(cls):
    X, y = data()
    net = network(cls)
    before = everything(net)

    def rate(step):
        if step == 3:
            raise LookupError("no rate")
        return 0.1

    with pytest.raises(LookupError, match="no rate"):
        net.fit(X, y, epochs=3, lr=rate)
    assert everything(net) == before


def test_objects_are_values():
    assert Cosine(1) == Cosine(1.0) != Cosine(1.0, 0.5)
    assert len({Step(0.1, 2), Step(0.1, 2, 0.1)}) == 1
    assert repr(Cosine(0.1)) == "Cosine(lr=0.1, end=0.0)"
    with pytest.raises(AttributeError):
        Cosine(0.1).lr = 0.5
    for schedule in SCHEDULES[:-2]:
        assert pickle.loads(pickle.dumps(schedule)) == schedule

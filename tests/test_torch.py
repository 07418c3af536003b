"""Networks from PyTorch and for it: the same outputs, both ways, and clear refusals."""

import pickle

import numpy as np
import pytest
from rounding import assert_same_output

import fastmlp as fm

torch = pytest.importorskip("torch", reason="PyTorch is what is converted from and to")
nn = torch.nn


POINTWISE = (
    "identity", "relu", "sigmoid", "tanh", "leaky_relu", "elu", "selu", "softplus", "gelu", "silu",
    "mish",
)  # fmt: skip


def network(layers, activations, dtype="float32"):
    net = fm.MLP(layers, activations, dtype=dtype, init="lecun", seed=1)
    for bias in net.biases:
        bias[...] = np.linspace(-0.5, 0.5, len(bias))
    return net


def samples(width, dtype="float32", n=33):
    return np.random.default_rng(n).normal(size=(n, width)).astype(dtype)


def run(module, X):
    with torch.no_grad():
        return module.eval()(torch.from_numpy(X)).numpy()


def module_of(*layers, dtype="float32"):
    """Return a Sequential with the same parameters in every run."""
    torch.manual_seed(0)
    return nn.Sequential(*layers).to(getattr(torch, str(dtype)))


# To PyTorch -----------------------------------------------------------------------------------


@pytest.mark.parametrize("output", [*POINTWISE, "softmax"])
@pytest.mark.parametrize("hidden", [None, *POINTWISE])
def test_there_and_back(hidden, output, dtype):
    layers, names = ([9, 5], [output]) if hidden is None else ([9, 17, 5], [hidden, output])
    net = network(layers, names, dtype)
    module = net.to_torch()
    assert type(module) is nn.Sequential
    X = samples(9, dtype)
    assert_same_output(net, X, net._output(X), run(module, X))

    back = fm.from_torch(module)
    assert type(back) is fm.MLP
    assert (back.layers, back.activations, back.dtype) == (net.layers, net.activations, dtype)
    for mine, other in zip((*net.weights, *net.biases), (*back.weights, *back.biases), strict=True):
        np.testing.assert_array_equal(mine, other)
    np.testing.assert_array_equal(back._output(X), net._output(X))


@pytest.mark.parametrize("name", POINTWISE)
def test_large_inputs(name, dtype):
    net = fm.MLP([1, 1], [name], init=1, dtype=dtype)
    net.weights[0][...] = 1
    X = np.linspace(-60, 60, 241).astype(dtype)[:, None]
    assert_same_output(net, X, net._output(X), run(net.to_torch(), X))


@pytest.mark.parametrize("output", ["softmax", "sigmoid", "exp"])
def test_logits_are_what_the_loss_of_pytorch_takes(output, dtype):
    net = network([9, 17, 5], ["tanh", output], dtype)
    module = net.to_torch(logits=True)
    X = samples(9, dtype)
    linear = network([9, 17, 5], ["tanh", "identity"], dtype)
    assert_same_output(linear, X, run(module, X))

    back = fm.from_torch(module, output=output.upper())
    assert (back.activations, back.loss) == (net.activations, net.loss)
    np.testing.assert_array_equal(back._output(X), net._output(X))
    y = np.eye(5)[np.arange(len(X)) % 5]
    losses = {
        "softmax": nn.CrossEntropyLoss(),
        "sigmoid": nn.BCEWithLogitsLoss(),
        "exp": nn.PoissonNLLLoss(),
    }
    with torch.no_grad():
        theirs = losses[output](module(torch.from_numpy(X)), torch.from_numpy(y.astype(dtype)))
    assert net.evaluate(X, y)["loss"] == pytest.approx(
        float(theirs), rel=100 * float(np.finfo(dtype).eps)
    )


def test_logits_leave_other_outputs_alone():
    net = network([9, 5], ["relu"])
    assert [type(layer) for layer in net.to_torch(logits=True)] == [nn.Linear, nn.ReLU]


def test_the_module_is_one_to_train_and_to_save(tmp_path):
    net = network([9, 17, 5], ["relu", "softmax"])
    before = [w.copy() for w in net.weights]
    module = net.to_torch(logits=True)
    X, y = torch.from_numpy(samples(9)), torch.arange(33) % 5
    optimizer = torch.optim.SGD(module.parameters(), lr=0.1)
    losses = []
    for _ in range(20):
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(module(X), y)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0]
    for old, now in zip(before, net.weights, strict=True):
        np.testing.assert_array_equal(old, now)
    again = nn.Sequential(nn.Linear(9, 17), nn.ReLU(), nn.Linear(17, 5))
    again.load_state_dict(module.state_dict())
    X = X.numpy()
    np.testing.assert_array_equal(run(again, X), run(module, X))
    np.testing.assert_array_equal(run(pickle.loads(pickle.dumps(module)), X), run(module, X))


def test_a_conversion_draws_no_random_numbers():
    torch.manual_seed(0)
    before = torch.random.get_rng_state()
    fm.from_torch(network([9, 17, 5], ["relu", "softmax"]).to_torch())
    assert torch.equal(torch.random.get_rng_state(), before)


def test_a_network_that_is_being_trained_can_be_converted():
    modules = []

    class Convert(fm.Callback):
        def on_progress(self, net, progress):
            modules.append(net.to_torch())

    net = network([9, 5], ["softmax"])
    net.fit(samples(9), np.arange(33) % 5, epochs=1, callbacks=[Convert()])
    X = samples(9)
    assert_same_output(net, X, run(modules[-1], X))


# From PyTorch ---------------------------------------------------------------------------------

MODULES = {
    "no bias": (
        lambda: [nn.Linear(9, 6, bias=False), nn.ReLU(), nn.Linear(6, 3)],
        ("relu", "identity"),
    ),
    "no activation": (lambda: [nn.Linear(9, 6), nn.Linear(6, 3), nn.Tanh()], ("identity", "tanh")),
    "passed over": (
        lambda: [
            nn.Flatten(),
            nn.Dropout(0.5),
            nn.Linear(9, 6),
            nn.Dropout(0.5),
            nn.ReLU(inplace=True),
            nn.Identity(),
            nn.Linear(6, 3),
            nn.Softmax(dim=1),
            nn.Identity(),
        ],
        ("relu", "softmax"),
    ),
    "nested": (
        lambda: [
            nn.Sequential(nn.Linear(9, 6), nn.Sigmoid()),
            nn.Sequential(nn.Sequential(nn.Linear(6, 3)), nn.Softmax(dim=-1)),
        ],
        ("sigmoid", "softmax"),
    ),
}


@pytest.mark.parametrize("name", MODULES)
def test_modules_of_others(name, dtype):
    layers, activations = MODULES[name]
    module = module_of(*layers(), dtype=dtype)
    net = fm.from_torch(module)
    assert net.activations == activations
    assert (net.dtype, net.trained_on, net.epochs_trained) == (dtype, None, 0)
    X = samples(9, dtype)
    assert_same_output(net, X, net._output(X), run(module, X))


def test_a_layer_may_be_there_twice():
    shared = nn.Linear(9, 9)
    module = module_of(shared, nn.Tanh(), shared, nn.Tanh())
    net, X = fm.from_torch(module), samples(9)
    assert_same_output(net, X, run(module, X))
    np.testing.assert_array_equal(net.weights[0], net.weights[1])
    assert not np.may_share_memory(net.weights[0], shared.weight.detach().numpy())


def test_log_softmax_becomes_softmax():
    module = module_of(nn.Linear(9, 4), nn.LogSoftmax(dim=1))
    net, X = fm.from_torch(module), samples(9)
    assert_same_output(net, X, net.predict_proba(X))
    # An error of the logarithm is a relative one of the probability.
    u = np.finfo("float32").eps
    size = np.abs(run(module, X)).max() + 10
    np.testing.assert_allclose(np.exp(run(module, X)), net.predict_proba(X), rtol=20 * size * u)
    assert fm.from_torch(module, output="softmax").activations == ("softmax",)


def test_the_module_stays_as_it_was():
    module = module_of(nn.Linear(9, 4), nn.Dropout(), nn.ReLU())
    before = {name: value.clone() for name, value in module.state_dict().items()}
    net = fm.from_torch(module)
    net.fit(samples(9), np.zeros((33, 4)), epochs=1)
    assert module.training
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())
    assert (net.weights[0] != before["0.weight"].numpy().T).any()


# Refused --------------------------------------------------------------------------------------


class MyLinear(nn.Linear):
    """May compute anything."""


REFUSED = {
    r"module\[1\] is BatchNorm1d: known are Linear, ReLU,": lambda: [
        nn.Linear(9, 6),
        nn.BatchNorm1d(6),
    ],
    r"module\[1\]\[0\] is Hardtanh: known are": lambda: [
        nn.Linear(9, 6),
        nn.Sequential(nn.Hardtanh(), nn.Linear(6, 3)),
    ],
    r"module\[1\] is GELU\(approximate='tanh'\): only approximate='none' is known": lambda: [
        nn.Linear(9, 6),
        nn.GELU("tanh"),
    ],
    r"module\[1\] is LeakyReLU\(negative_slope=0.2\): only negative_slope=0.01 is": lambda: [
        nn.Linear(9, 6),
        nn.LeakyReLU(0.2),
    ],
    r"module\[1\] is ELU\(alpha=0.5\): only alpha=1.0 is": lambda: [nn.Linear(9, 6), nn.ELU(0.5)],
    r"module\[1\] is Softplus\(beta=2.*\): only beta=1.0 is": lambda: [
        nn.Linear(9, 6),
        nn.Softplus(2),
    ],
    r"module\[1\] is Softplus\(.*\): only thresholds from 20 on are": lambda: [
        nn.Linear(9, 6),
        nn.Softplus(threshold=5),
    ],
    r"module\[0\] is .*MyLinear.*: known are": lambda: [MyLinear(9, 6)],
    r"module\[0\] is LazyLinear: known are": lambda: [nn.LazyLinear(6)],
    r"module\[0\] is ReLU, and there is no Linear right before it": lambda: [
        nn.ReLU(),
        nn.Linear(9, 6),
    ],
    r"module\[3\] is Tanh, and there is no Linear right before it": lambda: [
        nn.Linear(9, 6),
        nn.ReLU(),
        nn.Dropout(),
        nn.Tanh(),
    ],
    r"module\[1\] is Softmax, which only the last layer can have": lambda: [
        nn.Linear(9, 6),
        nn.Softmax(dim=1),
        nn.Dropout(),
        nn.Linear(6, 3),
    ],
    r"module\[1\] is Softmax\(dim=0\): only dim=1 or -1": lambda: [
        nn.Linear(9, 6),
        nn.Softmax(dim=0),
    ],
    r"module\[0\] is Flatten\(start_dim=0, end_dim=-1\): only Flatten\(\)": lambda: [
        nn.Flatten(0),
        nn.Linear(9, 6),
    ],
    r"module\[0\] holds bfloat16: networks are float32 or float64": lambda: [
        nn.Linear(9, 6, dtype=torch.bfloat16)
    ],
    r"module has layers that do not fit: weights\[1\] is \(5, 3\), its neighbors need \(6, 3\)": (
        lambda: [nn.Linear(9, 6), nn.Linear(5, 3)]
    ),
    "module holds no Linear": lambda: [nn.Flatten()],
}


@pytest.mark.parametrize("message", REFUSED)
def test_what_a_network_cannot_have_is_named(message):
    with pytest.raises(ValueError, match=f"^{message}"):
        fm.from_torch(nn.Sequential(*REFUSED[message]()))


class MySequential(nn.Sequential):
    """Computes something else than its layers one after another."""

    def forward(self, x):
        return x + super().forward(x)


def test_other_modules_are_refused():
    for other in (nn.Linear(9, 6), None, nn.Sequential):
        with pytest.raises(TypeError, match=r"^module must be a torch.nn.Sequential, got "):
            fm.from_torch(other)
    residual = MySequential(nn.Linear(9, 9))
    with pytest.raises(TypeError, match=r"^module is MySequential, which has a forward of its own"):
        fm.from_torch(residual)
    with pytest.raises(TypeError, match=r"^module\[0\] is MySequential"):
        fm.from_torch(nn.Sequential(residual))


def test_the_output_asked_for_must_fit():
    linear = nn.Sequential(nn.Linear(9, 6))
    for output in ("softmax", "sigmoid", "exp", "relu", "tanh", "identity"):
        assert fm.from_torch(linear, output=output).activations == (output,)
    with pytest.raises(ValueError, match=r"^output is 'logits': known are identity, relu"):
        fm.from_torch(linear, output="logits")
    with pytest.raises(TypeError, match=r"^output must be a name or None, got 3"):
        fm.from_torch(linear, output=3)
    ended = nn.Sequential(nn.Linear(9, 6), nn.Sigmoid(), nn.Identity())
    with pytest.raises(ValueError, match=r"^output is 'softmax', but .*: module\[1\] is Sigmoid"):
        fm.from_torch(ended, output="softmax")


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_parameters_that_are_not_finite_are_refused(value):
    module = nn.Sequential(nn.Linear(9, 6), nn.Linear(6, 3))
    with torch.no_grad():
        module[1].bias[2] = value
    with pytest.raises(ValueError, match=r"^module cannot be converted: biases\[1\]"):
        fm.from_torch(module)


def test_an_exp_output_has_no_layer():
    net = network([9, 5], ["exp"])
    with pytest.raises(ValueError, match=r"to_torch\(logits=True\) leaves it out"):
        net.to_torch()
    with pytest.raises(TypeError, match=r"^logits must be True or False"):
        net.to_torch(logits="yes")


MISSING = """
import sys
sys.modules["torch"] = None
import fastmlp as fm
for call in (fm.MLP([2, 3]).to_torch, lambda: fm.from_torch(None)):
    try:
        call()
    except ModuleNotFoundError as error:
        print(error)
"""


def test_without_pytorch_it_is_asked_for(run_python):
    assert run_python(MISSING) == "PyTorch is needed: pip install torch\n" * 2

"""Networks as ONNX models: valid, read by ONNX Runtime, and with the same output."""

import os

import numpy as np
import pytest
from rounding import assert_same_output

import fastmlp as fm
from fastmlp.convert import onnx_model

onnx = pytest.importorskip("onnx", reason="onnx makes the models")


@pytest.fixture
def run():
    """Return a function that runs a model, or a file, in ONNX Runtime."""
    ort = pytest.importorskip("onnxruntime", reason="ONNX Runtime checks what the models compute")

    def run(model, X):
        source = model.SerializeToString() if isinstance(model, onnx.ModelProto) else str(model)
        session = ort.InferenceSession(source, providers=["CPUExecutionProvider"])
        (output,) = session.run(None, {"input": X})
        return output

    return run


def network(layers, activations, dtype="float32"):
    net = fm.MLP(layers, activations, dtype=dtype, init="lecun", seed=1)
    for bias in net.biases:
        bias[...] = np.linspace(-0.5, 0.5, len(bias))
    return net


def samples(n, width, dtype="float32"):
    return np.random.default_rng(n).normal(size=(n, width)).astype(dtype)


POINTWISE = (
    "identity", "relu", "sigmoid", "tanh", "leaky_relu", "elu", "selu", "softplus", "gelu", "silu",
    "mish",
)  # fmt: skip


def is_refused(net):
    """Whether there is no model, since ONNX Runtime has no Erf in float64; assert that there is."""
    if net.dtype == "float32" or "gelu" not in net.activations:
        return False
    with pytest.raises(ValueError, match=r"is gelu, whose Erf .* and the network is float64$"):
        net.to_onnx()
    return True


@pytest.mark.parametrize("output", [*POINTWISE, "softmax", "exp"])
@pytest.mark.parametrize("hidden", [None, *POINTWISE])
def test_onnx_runtime_computes_the_same(hidden, output, dtype, run):
    layers, names = ([9, 5], [output]) if hidden is None else ([9, 17, 5], [hidden, output])
    net = network(layers, names, dtype)
    if is_refused(net):
        return
    model = net.to_onnx()
    onnx.checker.check_model(model, full_check=True)
    for rows in (1, 2, 33):
        X = samples(rows, 9, dtype)
        mine, other = net._output(X), run(model, X)
        assert_same_output(net, X, mine, other)
        assert (np.abs(mine - other) <= 1e-6 * np.maximum(1, np.abs(mine))).all()


@pytest.mark.parametrize("name", POINTWISE)
def test_large_inputs(name, dtype, run):
    net = network([1, 1], [name], dtype)
    if is_refused(net):
        return
    net.weights[0][...], net.biases[0][...] = 1, 0
    X = np.linspace(-60, 60, 241).astype(dtype)[:, None]
    assert_same_output(net, X, net._output(X), run(net.to_onnx(), X))


def test_a_deep_classifier_of_one_output_answers_alike(run):
    net = network([784, 128, 64, 32, 1], ["relu", "tanh", "relu", "sigmoid"])
    X = samples(500, 784)
    mine, other = net.predict_proba(X), run(net.to_onnx(), X)
    assert other.shape == (500, 1)
    np.testing.assert_allclose(other, mine, rtol=0, atol=1e-6)
    sure = np.abs(mine[:, 0] - 0.5) > 1e-6
    np.testing.assert_array_equal((other[:, 0] > 0.5)[sure], net.predict(X)[sure])


def test_logits_of_any_size_are_stable(dtype, run):
    net = network([1, 3], ["softmax"], dtype)
    X = np.array([[-1e4], [1e4]], dtype)
    # What is next to nothing may be nothing.
    tiny = np.finfo(dtype).tiny
    np.testing.assert_allclose(run(net.to_onnx(), X), net.predict_proba(X), rtol=0, atol=tiny)


def test_a_network_trained_on_bytes_takes_fractions(run):
    X = np.random.default_rng(0).integers(0, 256, (50, 6), np.uint8)
    net = fm.MLP([6, 8, 2], seed=1)
    net.fit(X, X[:, 0] > 127, epochs=2)
    model = net.to_onnx()
    assert model.graph.input[0].doc_string == (
        "values from 0 to 1: whole numbers 0 to 255 divided by 255"
    )
    fractions = X.astype(np.float32) / 255
    np.testing.assert_allclose(run(model, fractions), net.predict_proba(X), rtol=0, atol=1e-6)
    net.fit(fractions, X[:, 0] > 127, epochs=1)
    assert net.to_onnx().graph.input[0].doc_string == ""


def test_what_the_model_says_of_itself(dtype):
    net = network([9, 17, 5], ["identity", "softmax"], dtype)
    model = net.to_onnx()
    assert [(entry.domain, entry.version) for entry in model.opset_import] == [("", 13)]
    assert (model.ir_version, model.producer_name) == (7, "fastmlp")
    kind = onnx.TensorProto.FLOAT if dtype == "float32" else onnx.TensorProto.DOUBLE
    for value, name, width in zip(
        (model.graph.input[0], model.graph.output[0]), ("input", "output"), (9, 5), strict=True
    ):
        tensor = value.type.tensor_type
        assert (value.name, tensor.elem_type) == (name, kind)
        assert [d.dim_param or d.dim_value for d in tensor.shape.dim] == ["batch", width]
    assert [node.op_type for node in model.graph.node] == ["Gemm", "Gemm", "Softmax"]
    held = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    assert held.keys() == {"weights_1", "biases_1", "weights_2", "biases_2"}
    for layer in (1, 2):
        np.testing.assert_array_equal(held[f"weights_{layer}"], net.weights[layer - 1])
        np.testing.assert_array_equal(held[f"biases_{layer}"], net.biases[layer - 1])


# Files ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [str, os.fsencode, os.fspath], ids=["str", "bytes", "PathLike"])
def test_the_file_holds_the_model(kind, tmp_path, run):
    net = network([9, 17, 5], ["relu", "softmax"])
    path = tmp_path / "model.onnx"
    assert net.to_onnx(kind(path)) is None
    assert onnx.load(path) == net.to_onnx()
    np.testing.assert_allclose(
        run(path, samples(4, 9)), net.predict_proba(samples(4, 9)), atol=1e-6
    )
    before = path.read_bytes()
    net.to_onnx(path)
    assert path.read_bytes() == before


def test_a_failure_leaves_the_old_file_and_no_other(tmp_path, monkeypatch):
    path = tmp_path / "model.onnx"
    network([2, 3], ["softmax"]).to_onnx(path)
    before = path.read_bytes()

    def fail(*_):
        raise OSError("power cut")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(OSError, match="power cut"):
        network([2, 4], ["softmax"]).to_onnx(path)
    assert [entry.name for entry in tmp_path.iterdir()] == ["model.onnx"]
    assert path.read_bytes() == before


def test_a_path_must_be_one(tmp_path):
    net = network([2, 3], ["softmax"])
    with pytest.raises(TypeError, match="path must be a str"):
        net.to_onnx(3)
    with pytest.raises(FileNotFoundError, match="there is no folder"):
        net.to_onnx(tmp_path / "missing" / "model.onnx")
    with pytest.raises(IsADirectoryError):
        net.to_onnx(tmp_path)


# Refused --------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_weights_that_are_not_finite_are_refused(value, tmp_path):
    net = network([2, 3], ["softmax"])
    net.biases[0][1] = value
    with pytest.raises(ValueError, match=r"biases\[0\] holds values that are not finite"):
        net.to_onnx(tmp_path / "model.onnx")
    assert not list(tmp_path.iterdir())


def test_gelu_in_float64_is_refused(tmp_path):
    net = network([2, 3, 1], ["relu", "gelu"], "float64")
    with pytest.raises(ValueError, match=r"^activations\[1\] is gelu, whose Erf .* is float64$"):
        net.to_onnx(tmp_path / "model.onnx")
    assert not list(tmp_path.iterdir())


def test_what_does_not_fit_into_a_model_is_refused(monkeypatch):
    net = network([2, 3], ["softmax"])
    monkeypatch.setattr(onnx_model, "MAX_BYTES", 36)
    net.to_onnx()
    monkeypatch.setattr(onnx_model, "MAX_BYTES", 35)
    with pytest.raises(ValueError, match="take 36 bytes, an ONNX model holds 35"):
        net.to_onnx()


MISSING = """
import sys
sys.modules["onnx"] = None
import fastmlp as fm
try:
    fm.MLP([2, 3]).to_onnx(sys.argv[1])
except ModuleNotFoundError as error:
    print(error)
"""


def test_without_onnx_it_is_asked_for(run_python, tmp_path):
    assert run_python(MISSING, tmp_path / "model.onnx") == (
        "ONNX models need the library onnx: pip install 'fastmlp[onnx]'\n"
    )
    assert not list(tmp_path.iterdir())

"""What other extensions call: the table of C functions, networks in capsules, and the headers.

The table is called as C does it, by ctypes, without the GIL. The extension in
examples/cython_extension does the same in Cython; `bash .ci/run package` builds and runs it.
"""

import ctypes
import gc
import os
import shutil
import subprocess
import sysconfig
import weakref
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

import fastmlp as fm
from fastmlp import _core

# Extensions are compiled with these numbers and structures. Where one of them changes, or the
# arguments of a function do, FM_API_VERSION must rise.
VERSION, REVISION = 2, 0
FUNCTIONS = {
    "status_message": (ctypes.c_char_p, "i"),
    "matmul": (ctypes.c_int, "ppiip"),
    "dense_forward": (ctypes.c_int, "pppip"),
    "dense_forward_sparse": (ctypes.c_int, "pppip"),
    "dense_backward": (ctypes.c_int, "pppppp"),
    "activate": (ctypes.c_int, "ipp"),
    "activate_backward": (ctypes.c_int, "ippp"),
    "network_inference_workspace": (ctypes.c_size_t, "pn"),
    "network_predict": (ctypes.c_int, "pppippn"),
}
STATUSES = ("ok", "shape", "dtype", "value", "label", "memory", "not finite")
OK, SHAPE, DTYPE, VALUE, LABEL, MEMORY, NOT_FINITE = range(len(STATUSES))
DTYPES = {"float32": 0, "float64": 1, "uint8": 2}
ACTIVATIONS = (
    "identity",
    "relu",
    "sigmoid",
    "tanh",
    "leaky_relu",
    "elu",
    "selu",
    "softplus",
    "gelu",
    "silu",
    "mish",
    "exp",
    "softmax",
    "log_softmax",
)
ALIGNMENT = 64

TYPES = {"i": ctypes.c_int, "n": ctypes.c_size_t, "p": ctypes.c_void_p}


class Matrix(ctypes.Structure):
    _fields_ = (
        ("data", ctypes.c_void_p),
        ("rows", ctypes.c_size_t),
        ("cols", ctypes.c_size_t),
        ("stride", ctypes.c_ssize_t),
        ("dtype", ctypes.c_int),
    )


class Samples(ctypes.Structure):
    _fields_ = (
        ("data", ctypes.c_void_p),
        ("rows", ctypes.c_size_t),
        ("cols", ctypes.c_size_t),
        ("stride", ctypes.c_ssize_t),
        ("starts", ctypes.c_void_p),
        ("columns", ctypes.c_void_p),
        ("dtype", ctypes.c_int),
    )


class Model(ctypes.Structure):
    _fields_ = (
        ("network", ctypes.c_void_p),
        ("parameters", ctypes.c_void_p),
        ("inputs", ctypes.c_size_t),
        ("outputs", ctypes.c_size_t),
        ("dtype", ctypes.c_int),
    )


class Table(ctypes.Structure):
    _fields_ = (
        ("version", ctypes.c_int),
        ("revision", ctypes.c_int),
        *(
            (name, ctypes.CFUNCTYPE(result, *(TYPES[letter] for letter in arguments)))
            for name, (result, arguments) in FUNCTIONS.items()
        ),
    )


def pointer_in(capsule, name):
    get = ctypes.pythonapi.PyCapsule_GetPointer
    get.restype, get.argtypes = ctypes.c_void_p, (ctypes.py_object, ctypes.c_char_p)
    return get(capsule, name)


API = Table.from_address(pointer_in(_core._C_API, b"fastmlp._core._C_API"))


def model_in(capsule):
    return Model.from_address(pointer_in(capsule, b"fastmlp.fm_model"))


def matrix(array):
    rows, cols = array.shape
    stride = array.strides[0] // array.itemsize
    return Matrix(array.ctypes.data, rows, cols, stride, DTYPES[array.dtype.name])


def dense(array):
    m = matrix(array)
    return Samples(m.data, m.rows, m.cols, m.stride, None, None, m.dtype)


def sparse(X):
    """Return a CSR matrix as samples, and the arrays that they point into."""
    starts, columns = X.indptr.astype(np.int64), X.indices.astype(np.int32)
    addresses = starts.ctypes.data, columns.ctypes.data
    samples = Samples(X.data.ctypes.data, *X.shape, 0, *addresses, DTYPES[X.dtype.name])
    return samples, (starts, columns)


def call(name, *arguments):
    """Call a function of the table, structures by their address."""
    return getattr(API, name)(
        *(ctypes.addressof(a) if isinstance(a, ctypes.Structure) else a for a in arguments)
    )


def normal(shape, dtype, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(dtype)


def test_the_version_of_the_table():
    assert (API.version, API.revision) == (VERSION, REVISION)


def test_statuses_have_messages():
    messages = [call("status_message", status).decode() for status in range(10)]
    assert messages[OK] == "success"
    assert "sizes" in messages[SHAPE]
    assert "dtype" in messages[DTYPE]
    assert "memory" in messages[MEMORY]
    assert "not finite" in messages[NOT_FINITE]
    assert len(set(messages)) == 10
    assert call("status_message", 99) == b"unknown status"


# Operations ---------------------------------------------------------------------------------


@pytest.mark.parametrize("transpose_a", [False, True])
@pytest.mark.parametrize("transpose_b", [False, True])
def test_products_are_those_of_ops(transpose_a, transpose_b, dtype, isa):
    a = normal((40, 70) if transpose_a else (70, 40), dtype)
    b = normal((90, 40) if transpose_b else (40, 90), dtype, 1)
    out = np.empty((70, 90), dtype)
    status = call("matmul", matrix(a), matrix(b), transpose_a, transpose_b, matrix(out))
    assert status == OK
    assert np.array_equal(out, fm.ops.matmul(a, b, transpose_a, transpose_b))


@pytest.mark.parametrize(("number", "activation"), [*enumerate(ACTIVATIONS)])
def test_layers_are_those_of_ops(number, activation, dtype):
    x, w, b = normal((30, 20), dtype), normal((20, 7), dtype, 1), normal(7, dtype, 2)
    expected = fm.ops.dense_forward(x, w, b, activation)
    out = np.empty((30, 7), dtype)
    forward = ("dense_forward", matrix(x), matrix(w), b.ctypes.data, number, matrix(out))
    assert call(*forward) == OK
    assert np.array_equal(out, expected)

    z = fm.ops.dense_forward(x, w, b)
    assert call("activate", number, matrix(z), matrix(out)) == OK
    assert np.array_equal(out, expected)


def test_layers_of_sparse_rows(dtype):
    scipy_sparse = pytest.importorskip("scipy.sparse")
    X = scipy_sparse.random(30, 50, 0.1, "csr", dtype, 0)
    w, out = normal((50, 7), dtype), np.empty((30, 7), dtype)
    samples, _kept = sparse(X)
    forward = ("dense_forward_sparse", samples, matrix(w), None, 1, matrix(out))
    assert call(*forward) == OK
    assert np.array_equal(out, fm.ops.dense_forward(X, w, activation="relu"))


def test_the_way_back_is_that_of_ops(dtype):
    dy, x, w = normal((30, 7), dtype), normal((30, 20), dtype, 1), normal((20, 7), dtype, 2)
    dx, dw, db = np.empty_like(x), np.empty_like(w), np.empty(7, dtype)
    operands = [matrix(array) for array in (dy, x, w, dx, dw)]
    assert call("dense_backward", *operands, db.ctypes.data) == OK
    for found, expected in zip((dx, dw, db), fm.ops.dense_backward(dy, x, w), strict=True):
        assert np.array_equal(found, expected)

    y, out = fm.ops.relu(dy), np.empty_like(dy)
    again = normal(dy.shape, dtype, 3)
    assert call("activate_backward", 1, matrix(again), matrix(y), matrix(out)) == OK
    assert np.array_equal(out, fm.ops.relu_backward(again, y))


@pytest.mark.parametrize(
    ("a", "b", "out", "expected"),
    [
        (("float32", (4, 5)), ("float64", (5, 6)), ("float32", (4, 6)), DTYPE),
        (("float32", (4, 5)), ("float32", (5, 6)), ("float64", (4, 6)), DTYPE),
        (("uint8", (4, 5)), ("uint8", (5, 6)), ("uint8", (4, 6)), DTYPE),
        (("float32", (4, 5)), ("float32", (4, 6)), ("float32", (4, 6)), SHAPE),
        (("float32", (4, 5)), ("float32", (5, 6)), ("float32", (6, 4)), SHAPE),
    ],
)
def test_operands_that_do_not_fit_write_nothing(a, b, out, expected):
    a, b, out = (np.ones(shape, dtype) for dtype, shape in (a, b, out))
    assert call("matmul", matrix(a), matrix(b), 0, 0, matrix(out)) == expected
    assert (out == 1).all()


def test_rows_of_an_output_may_not_overlap():
    a, out = np.ones((4, 4), np.float32), np.ones((4, 4), np.float32)
    overlapping = matrix(out)
    overlapping.stride = 3
    assert call("matmul", matrix(a), matrix(a), 0, 0, overlapping) == SHAPE
    assert (out == 1).all()


@pytest.mark.parametrize("number", [-1, len(ACTIVATIONS), 1000])
def test_there_is_no_such_activation(number):
    z, out = np.ones((3, 3), np.float32), np.full((3, 3), 7, np.float32)
    assert call("activate", number, matrix(z), matrix(out)) == VALUE
    assert call("activate_backward", number, matrix(z), matrix(z), matrix(out)) == VALUE
    assert call("dense_forward", matrix(z), matrix(z), None, number, matrix(out)) == VALUE
    assert (out == 7).all()


# Networks -----------------------------------------------------------------------------------


def predict(capsule, samples, out, logits=False, change=0):
    """Predict, in a workspace of so many bytes more than needed."""
    model = model_in(capsule)
    size = call("network_inference_workspace", model.network, samples.rows)
    memory = np.empty(size + change + ALIGNMENT, np.uint8)
    workspace = memory.ctypes.data + -memory.ctypes.data % ALIGNMENT
    arguments = (model.network, model.parameters, samples, logits, matrix(out))
    return call("network_predict", *arguments, workspace, size + change)


def network(dtype="float32"):
    return fm.MLP([20, 33, 5], dtype=dtype)


def test_what_a_model_says_of_itself(dtype):
    net = network(dtype)
    capsule = net.c_model()
    model = model_in(capsule)
    assert (model.inputs, model.outputs, model.dtype) == (20, 5, DTYPES[dtype.name])
    assert model.parameters % ALIGNMENT == 0
    assert model.parameters == net._parameters.ctypes.data


@pytest.mark.parametrize("x_dtype", DTYPES)
@pytest.mark.parametrize("n", [1, 300])
def test_predictions_are_the_networks(n, x_dtype, dtype, threads):
    net = network(dtype)
    X = np.round(100 * np.abs(normal((n, 20), "float64"))).clip(0, 255).astype(x_dtype)
    out = np.empty((n, 5), dtype)
    assert predict(net.c_model(), dense(X), out) == OK
    assert np.array_equal(out, net.predict_proba(X))
    assert predict(net.c_model(), dense(X), out, logits=True) == OK
    assert np.array_equal(fm.ops.softmax(out), net.predict_proba(X))


def test_predictions_of_sparse_rows(dtype):
    scipy_sparse = pytest.importorskip("scipy.sparse")
    net = network(dtype)
    X = scipy_sparse.random(100, 20, 0.1, "csr", dtype, 0)
    samples, _kept = sparse(X)
    out = np.empty((100, 5), dtype)
    assert predict(net.c_model(), samples, out) == OK
    assert np.array_equal(out, net.predict_proba(X))


def test_one_model_predicts_in_several_threads(dtype):
    net = network(dtype)
    capsule = net.c_model()
    batches = [normal((50 + 100 * i, 20), dtype, i) for i in range(8)]
    outputs = [np.empty((len(X), 5), dtype) for X in batches]

    def work(i):
        return {predict(capsule, dense(batches[i]), outputs[i]) for _ in range(20)}

    with ThreadPoolExecutor(8) as pool:
        assert all(statuses == {OK} for statuses in pool.map(work, range(8)))
    for X, out in zip(batches, outputs, strict=True):
        assert np.array_equal(out, net.predict_proba(X))


def test_arguments_that_do_not_fit_the_network():
    capsule = network().c_model()
    X, out = np.ones((6, 20), np.float32), np.full((6, 5), 7, np.float32)
    assert predict(capsule, dense(X[:, 1:]), out) == SHAPE
    assert predict(capsule, dense(X[:5]), out) == SHAPE
    assert predict(capsule, dense(X[:0]), out[:0]) == SHAPE
    assert predict(capsule, dense(X), np.ones((6, 4), np.float32)) == SHAPE
    assert predict(capsule, dense(X), np.ones((6, 5), np.float64)) == DTYPE
    unknown = dense(X)
    unknown.dtype = 3
    assert predict(capsule, unknown, out) == DTYPE
    assert predict(capsule, dense(X), out, change=-1) == MEMORY
    model = model_in(capsule)
    predicted = ("network_predict", model.network, model.parameters, dense(X), 0, matrix(out))
    assert call(*predicted, None, 1 << 20) == MEMORY
    memory = np.empty(1 << 20, np.uint8)
    askew = memory.ctypes.data + -memory.ctypes.data % ALIGNMENT + 8
    assert call(*predicted, askew, 1 << 19) == MEMORY
    assert (out == 7).all()


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_samples_that_are_not_finite(bad, dtype):
    X = normal((200, 20), dtype)
    X[150, 3] = bad
    assert predict(network(dtype).c_model(), dense(X), np.empty((200, 5), dtype)) == NOT_FINITE


def test_a_capsule_keeps_what_it_points_into():
    net = network()
    X = normal((50, 20), "float32")
    expected, out = net.predict_proba(X), np.empty((50, 5), np.float32)
    capsule = net.c_model()
    gone, parameters = weakref.ref(net), weakref.ref(net._parameters)
    del net
    gc.collect()
    assert gone() is None
    # Whatever was freed is overwritten.
    others = [network() for _ in range(20)]
    assert predict(capsule, dense(X), out) == OK
    assert np.array_equal(out, expected)
    assert parameters() is not None
    del capsule, others
    assert parameters() is None


def test_a_model_follows_its_network():
    net = network()
    X = normal((50, 20), "float32")
    capsule, out = net.c_model(), np.empty((50, 5), np.float32)
    before = net.predict_proba(X)
    net.fit(X, np.arange(50) % 5, epochs=3, lr=0.1)
    assert not np.array_equal(net.predict_proba(X), before)
    assert predict(capsule, dense(X), out) == OK
    assert np.array_equal(out, net.predict_proba(X))


def test_a_capsule_is_made_of_the_networks_own_parameters():
    net = network()
    for other in (np.zeros(3, np.float32), net._parameters.astype(np.float64)):
        with pytest.raises(ValueError, match="not the parameters"):
            net._plan.model(other)


# Headers ------------------------------------------------------------------------------------


EXTENSION = """
#define Py_LIMITED_API 0x030B0000
#include "fastmlp_python.h"

static PyObject *outputs(PyObject *self, PyObject *capsule)
{
    const fm_model *model = fm_get_model(capsule);
    (void)self;
    return model ? PyLong_FromSize_t(model->outputs) : NULL;
}

static PyObject *product(PyObject *self, PyObject *arguments)
{
    float a[] = {1, 2, 3, 4}, out[4];
    const fm_matrix m = {a, 2, 2, 2, FM_FLOAT32}, o = {out, 2, 2, 2, FM_FLOAT32};
    fm_status status;
    (void)self;
    (void)arguments;
    Py_BEGIN_ALLOW_THREADS
    status = fm_matmul(&m, &m, 0, 0, &o);
    Py_END_ALLOW_THREADS
    if (status) {
        PyErr_SetString(PyExc_ValueError, fm_status_message(status));
        return NULL;
    }
    return Py_BuildValue("(ffff)", out[0], out[1], out[2], out[3]);
}

static PyMethodDef methods[] = {{"outputs", outputs, METH_O, NULL},
                                {"product", product, METH_NOARGS, NULL},
                                {NULL, NULL, 0, NULL}};
static struct PyModuleDef module = {PyModuleDef_HEAD_INIT, "extension", NULL, -1, methods,
                                    NULL, NULL, NULL, NULL};

PyMODINIT_FUNC PyInit_extension(void)
{
    return import_fastmlp() ? NULL : PyModule_Create(&module);
}
"""


@pytest.fixture
def compiled(tmp_path):
    """Return a function that compiles EXTENSION, for other versions of the interface if asked."""
    headers = Path(fm.get_include())
    if not headers.is_dir():
        pytest.skip("fastmlp is not installed: the headers are not beside the core")
    compiler = shutil.which("cc")
    if compiler is None or not Path(sysconfig.get_path("include"), "Python.h").is_file():
        pytest.skip("there is no C compiler, or no header of Python's")

    def compile_extension(version=VERSION, revision=REVISION):
        for path in headers.iterdir():
            text = path.read_text(encoding="utf-8")
            for name, number in (("VERSION", version), ("REVISION", revision)):
                before = f"FM_API_{name} = {VERSION if name == 'VERSION' else REVISION}"
                text = text.replace(before, f"FM_API_{name} = {number}")
            (tmp_path / path.name).write_text(text, encoding="utf-8")
        (tmp_path / "extension.c").write_text(EXTENSION, encoding="utf-8")
        flags = ("-shared", "-fPIC", "-std=c11", "-Wall", "-Wextra", "-Werror")
        include = "-I" + sysconfig.get_path("include")
        subprocess.run(
            [compiler, *flags, include, "extension.c", "-o", "extension.abi3.so"],
            cwd=tmp_path,
            env={name: value for name, value in os.environ.items() if name != "LD_PRELOAD"},
            check=True,
        )

    return compile_extension


USE = """
import sys
sys.path.insert(0, sys.argv[1])
import extension
import fastmlp as fm
print(extension.product(), extension.outputs(fm.MLP([3, 4]).c_model()))
for other in (fm.MLP([3, 4]), None, fm._core._C_API):
    try:
        extension.outputs(other)
    except TypeError as error:
        print(error)
"""


def test_an_extension_in_c(compiled, run_python, tmp_path):
    compiled()
    first, *refused = run_python(USE, tmp_path).splitlines()
    assert first == "(7.0, 10.0, 15.0, 22.0) 4"
    assert len(refused) == 3
    assert all(line.startswith("what c_model() returned expected, not ") for line in refused)
    assert [line.split()[5][:4] for line in refused] == ["MLP(", "None", "<cap"]


@pytest.mark.parametrize(
    ("version", "revision"),
    [(VERSION + 1, 0), (VERSION - 1, 0), (VERSION, REVISION + 1)],
)
def test_an_extension_for_another_version(version, revision, compiled, run_python, tmp_path):
    compiled(version, revision)
    result = run_python(USE, tmp_path, check=False)
    message = result.stderr.splitlines()[-1]
    assert message.startswith(
        f"ImportError: compiled for version {version}.{revision} of fastmlp's C interface, "
        f"but the installed fastmlp has {VERSION}.{REVISION}"
    )

"""Model files: what is saved is loaded to the bit, and no file and no crash does harm."""

import errno
import json
import os
import re
import signal
import stat
import struct
import subprocess
import sys
import time
import zlib

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies as st

import fastmlp as fm
from fastmlp.io import atomic
from fastmlp.io.model_file import ATTRIBUTES

pytest.importorskip("safetensors")
from safetensors.numpy import save as save_tensors


def parameters(net):
    return [*net.weights, *net.biases]


def small(dtype="float32", **options):
    """Return a network of which a file is small."""
    net = fm.MLP([3, 4, 2], ["tanh", "softmax"], dtype=dtype, seed=1, **options)
    net.fit(np.eye(3), [0, 1, 0], epochs=2)
    return net


def assert_same_network(mine, other):
    for a, b in zip(parameters(mine), parameters(other), strict=True):
        assert a.dtype == b.dtype
        assert a.tobytes() == b.tobytes()
    names = ("layers", "activations", "init", "dtype", "seed", "loss", "epochs_trained",
             "trained_on")  # fmt: skip
    for name in names:
        assert getattr(mine, name) == getattr(other, name)
        assert type(getattr(mine, name)) is type(getattr(other, name))


def content(net, tmp_path):
    path = tmp_path / "content"
    net.save(path)
    return path.read_bytes()


def read(path):
    """Return the header and the tensors' bytes of a file: eight bytes of length, JSON, data."""
    raw = path.read_bytes()
    (length,) = struct.unpack("<Q", raw[:8])
    return json.loads(raw[8 : 8 + length]), raw[8 + length :]


def write(path, header, data):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)


def load_or_refuse(path):
    """Return the network of a file that may be good, or None where loading refuses it."""
    try:
        return fm.load(path)
    except ValueError as error:
        message = str(error)
    assert message.startswith(f"{path} is not a usable fastmlp model: ")
    return None


def assert_refused(path):
    """Loading must raise ValueError, its message beginning with the path."""
    with pytest.raises(ValueError, match="is not a usable fastmlp model") as caught:
        fm.load(path)
    assert str(caught.value).startswith(f"{path} ")


# There and back -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("layers", "activations", "init", "seed"),
    [
        ([1, 1], ["sigmoid"], "he", 0),
        ([3, 4, 2], ["tanh", "softmax"], "glorot", 2**64 - 1),
        ([17, 33, 5, 16], ["relu", "identity", "tanh"], 0.25, 7),
        ([9, 8, 7, 6, 5], ["gelu", "silu", "mish", "softplus"], "he", 3),
        ([9, 8, 7, 5], ["leaky_relu", "elu", "selu"], "lecun", 3),
        ([784, 128, 64, 32, 10], None, "lecun", 1),
    ],
)
@pytest.mark.parametrize("x_dtype", [None, "uint8", "float32", "float64"])
def test_round_trip(layers, activations, init, seed, x_dtype, dtype, tmp_path):
    path = tmp_path / "model.safetensors"
    net = fm.MLP(layers, activations, init=init, dtype=dtype, seed=seed)
    rng = np.random.default_rng(0)
    for parameter in parameters(net):
        parameter[...] = rng.normal(size=parameter.shape)
    X = (rng.random((20, layers[0])) * 200).astype(x_dtype or "float32")
    y = rng.random((20, layers[-1])) if layers[-1] != 2 else rng.integers(2, size=20)
    if net.activations[-1] == "softmax":
        y = rng.integers(layers[-1], size=20)
    if x_dtype:
        net.fit(X, y, epochs=2, lr=1e-6)
    net.save(path)
    loaded = fm.load(path)
    assert type(loaded) is fm.MLP
    assert_same_network(loaded, net)
    assert loaded.history is None
    assert loaded._output(X).tobytes() == net._output(X).tobytes()
    # And training goes on where it was.
    for each in (net, loaded):
        each.fit(X, y, epochs=1, lr=1e-6)
    assert_same_network(loaded, net)


def test_special_values_survive(dtype, tmp_path):
    info = np.finfo(dtype)
    net = fm.MLP([2, 3], dtype=dtype)
    net.weights[0][...] = [[-0.0, info.smallest_subnormal, -info.tiny], [info.max, -info.max, 1]]
    net.save(tmp_path / "model")
    assert_same_network(fm.load(tmp_path / "model"), net)


SAVE = """
import sys
import numpy as np
import fastmlp as fm
net = fm.MLP([3, 4, 2], ["tanh", "softmax"], dtype=sys.argv[2], seed=1)
net.fit(np.eye(3), [0, 1, 0], epochs=2)
net.save(sys.argv[1])
"""


def test_the_same_network_makes_the_same_file(dtype, tmp_path, run_python):
    expected = content(small(dtype), tmp_path)
    for seed in range(4):
        run_python(SAVE, tmp_path / str(seed), dtype, PYTHONHASHSEED=str(seed))
        assert (tmp_path / str(seed)).read_bytes() == expected


def test_kinds_of_paths(tmp_path, monkeypatch):
    net = small()
    monkeypatch.chdir(tmp_path)
    odd = [b"bytes", b"not UTF-8 \xff", os.fsencode(tmp_path / "more bytes")]
    names = ["model", "ünïcödé π.safetensors", tmp_path / "object", str(tmp_path / "text"), *odd]
    for count, path in enumerate(names, start=1):
        net.save(path)
        assert_same_network(fm.load(path), net)
        assert len(os.listdir(tmp_path)) == count
    assert set(map(os.fsencode, os.listdir(tmp_path))) >= {*odd[:2], b"more bytes"}


def test_weights_that_are_views_are_saved_as_they_are(tmp_path):
    net = small()
    net.weights[0][1, 2] = 42
    net.save(tmp_path / "model")
    assert fm.load(tmp_path / "model").weights[0][1, 2] == 42


# Replacing ------------------------------------------------------------------------------------


class Crash(BaseException):
    """What no handler of ordinary errors catches."""


@pytest.mark.parametrize("error", [OSError, KeyboardInterrupt, Crash])
@pytest.mark.parametrize("function", ["replace", "fsync", "fchmod", "fdopen"])
@pytest.mark.parametrize("old", [True, False], ids=["over an old file", "new"])
def test_a_failure_leaves_the_old_file_and_no_other(function, error, old, tmp_path, monkeypatch):
    path = tmp_path / "model"
    first, second = small(), small(init="glorot")
    if old:
        first.save(path)
    before = {entry.name: entry.read_bytes() for entry in tmp_path.iterdir()}

    def fail(*arguments, **keywords):
        raise error("power cut")

    monkeypatch.setattr(os, function, fail)
    with pytest.raises(error, match="power cut"):
        second.save(path)
    monkeypatch.undo()
    assert {entry.name: entry.read_bytes() for entry in tmp_path.iterdir()} == before
    second.save(path)
    assert_same_network(fm.load(path), second)
    assert [entry.name for entry in tmp_path.iterdir()] == ["model"]


def test_a_failure_leaves_no_file_descriptor_open(tmp_path, monkeypatch):
    def fail(*arguments):
        raise OSError("no space")

    monkeypatch.setattr(os, "fsync", fail)
    before = len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else None
    for _ in range(20):
        with pytest.raises(OSError, match="no space"):
            small().save(tmp_path / "model")
    if before is not None:
        assert len(os.listdir("/proc/self/fd")) <= before


def test_the_content_is_on_the_disk_before_the_name_changes(tmp_path, monkeypatch):
    events = []

    def recorded(name):
        function = getattr(os, name)

        def record(*arguments):
            events.append(name)
            return function(*arguments)

        return record

    for name in ("fsync", "replace"):
        monkeypatch.setattr(os, name, recorded(name))
    small().save(tmp_path / "model")
    assert events[:2] == ["fsync", "replace"]


SAVE_FOR_EVER = """
import sys
import fastmlp as fm
nets = [fm.MLP([300, 500], init=init) for init in (0.25, 0.5)]
nets[0].save(sys.argv[1])
print("ready", flush=True)
while True:
    for net in nets:
        net.save(sys.argv[1])
"""


def test_a_killed_process_leaves_a_whole_file(tmp_path):
    path = tmp_path / "model"
    environment = {**os.environ, "PYTHONPATH": os.path.dirname(os.path.dirname(fm.__file__))}
    rng = np.random.default_rng(0)
    for _ in range(6):
        process = subprocess.Popen(
            [sys.executable, "-c", SAVE_FOR_EVER, path], stdout=subprocess.PIPE, env=environment
        )
        try:
            assert process.stdout.readline() == b"ready\n"
            time.sleep(rng.uniform(0, 0.02))
        finally:
            process.send_signal(signal.SIGKILL)
            process.wait()
            process.stdout.close()
        assert fm.load(path).init in (0.25, 0.5)


def test_the_mode_of_a_file_is_kept(tmp_path):
    path = tmp_path / "model"
    net = small()
    mask = os.umask(0o027)
    try:
        net.save(path)
        assert stat.S_IMODE(path.stat().st_mode) == 0o640
        for mode in (0o600, 0o644, 0o666):
            path.chmod(mode)
            net.save(path)
            assert stat.S_IMODE(path.stat().st_mode) == mode
        assert os.umask(0o027) == 0o027  # which was not changed either
    finally:
        os.umask(mask)


def test_a_link_stays_a_link(tmp_path):
    net, target, link = small(), tmp_path / "folder" / "model", tmp_path / "link"
    target.parent.mkdir()
    link.symlink_to(target)
    net.save(link)  # also when it points nowhere yet
    assert link.is_symlink()
    assert_same_network(fm.load(target), net)
    other = small(init="glorot")
    other.save(link)
    assert link.is_symlink()
    assert not target.is_symlink()
    assert_same_network(fm.load(link), other)
    assert [entry.name for entry in target.parent.iterdir()] == ["model"]


def test_readers_meet_whole_files_only(tmp_path):
    """A reader that opened the old file goes on reading the old one."""
    path = tmp_path / "model"
    small().save(path)
    with open(path, "rb") as file:
        first = file.read(10)
        small(init="glorot").save(path)
        rest = file.read()
    (tmp_path / "old").write_bytes(first + rest)
    assert_same_network(fm.load(tmp_path / "old"), small())


# Where there is no file ---------------------------------------------------------------------------


def test_missing_files_and_folders(tmp_path):
    net = small()
    with pytest.raises(FileNotFoundError):
        fm.load(tmp_path / "missing")
    with pytest.raises(IsADirectoryError):
        fm.load(tmp_path)
    with pytest.raises(IsADirectoryError):
        net.save(tmp_path)
    with pytest.raises(FileNotFoundError, match=f"there is no folder {tmp_path}/missing$"):
        net.save(tmp_path / "missing" / "model")
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "file").write_text("text")
    with pytest.raises(NotADirectoryError):
        net.save(tmp_path / "file" / "model")
    assert (tmp_path / "file").read_text() == "text"


def test_links_in_a_loop(tmp_path):
    loop, other = tmp_path / "loop", tmp_path / "other"
    loop.symlink_to(other)
    other.symlink_to(loop)
    for path in (loop, loop / "model"):
        for call in (small().save, fm.load):
            with pytest.raises(OSError, match=re.escape(repr(str(path)))) as caught:
                call(path)
            assert caught.value.errno == errno.ELOOP
    assert sorted(tmp_path.iterdir()) == [loop, other]
    assert loop.is_symlink()


def test_special_files_are_neither_replaced_nor_opened(tmp_path):
    """Opening a FIFO, to read or to write, would wait for another process for ever."""
    fifo, link = tmp_path / "fifo", tmp_path / "link"
    os.mkfifo(fifo)
    link.symlink_to(fifo)
    for path in (fifo, link):
        with pytest.raises(OSError, match=f"^{path} is not a regular file"):
            small().save(path)
        assert_refused(path)
    assert stat.S_ISFIFO(fifo.stat().st_mode)
    assert sorted(tmp_path.iterdir()) == [fifo, link]


def test_replace_file_by_itself(tmp_path):
    path = tmp_path / "file"
    for data in (b"", b"one", bytes(range(256)) * 1000):
        atomic.replace_file(path, data)
        assert path.read_bytes() == data


# Damaged files ------------------------------------------------------------------------------------


def test_a_truncated_file_is_refused_at_every_length(tmp_path):
    raw = content(small(), tmp_path)
    path = tmp_path / "cut"
    for length in range(len(raw)):
        path.write_bytes(raw[:length])
        assert_refused(path)


def test_a_longer_file_is_refused(tmp_path):
    path = tmp_path / "long"
    path.write_bytes(content(small(), tmp_path) + b"\0")
    assert_refused(path)


def test_no_flipped_bit_does_harm(tmp_path):
    """A flipped bit of the header is found out or harmless, one of the values changes the value."""
    raw = bytearray(content(small(), tmp_path))
    path = tmp_path / "flipped"
    (length,) = struct.unpack("<Q", raw[:8])
    refused = 0
    for place in range(len(raw)):
        for bit in {place % 8, (place + 3) % 8}:
            raw[place] ^= 1 << bit
            path.write_bytes(raw)
            raw[place] ^= 1 << bit
            net = load_or_refuse(path)
            refused += net is None
            if net is not None:
                assert net.n_parameters == 26
                assert net.predict(np.eye(3)).shape == (3,)
    assert refused > length


@hypothesis.given(st.data())
def test_no_mangled_file_does_harm(tmp_path_factory, data):
    folder = tmp_path_factory.getbasetemp()
    raw = bytearray(content(small(), folder))
    for _ in range(data.draw(st.integers(1, 4))):
        start = data.draw(st.integers(0, len(raw)))
        stop = data.draw(st.integers(start, min(len(raw), start + 40)))
        raw[start:stop] = data.draw(st.binary(max_size=40))
    path = folder / "mangled"
    path.write_bytes(raw)
    net = load_or_refuse(path)
    if net is not None:
        assert len(net.predict(np.ones((1, net.n_inputs)))) == 1


# Files of another kind ----------------------------------------------------------------------------


def png():
    def chunk(kind, data):
        checked = kind + data
        return struct.pack(">I", len(data)) + checked + struct.pack(">I", zlib.crc32(checked))

    head = struct.pack(">IIBBBBB", 1, 1, 8, 0, 0, 0, 0)
    pixels = zlib.compress(b"\0\0")
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")
    )


OTHER_KINDS = {
    "empty": b"",
    "one byte": b"\0",
    "eight bytes": bytes(8),
    "zeros": bytes(10_000),
    "ones": b"\xff" * 10_000,
    "text": b"loss,accuracy\n" * 100,
    "json": b'{"layers": [3, 4, 2]}' * 10,
    "png": png(),
    "gzip": zlib.compress(b"text", wbits=31),
    "header of 2**63 bytes": struct.pack("<Q", 2**63) + b"{}",
    "header of 2**64 - 1 bytes": b"\xff" * 8 + b"{}",
    "header of 100 MB": struct.pack("<Q", 10**8) + b"{}" * 100,
    "empty header": struct.pack("<Q", 2) + b"{}",
    "header that is a list": struct.pack("<Q", 2) + b"[]",
    "header that is no text": struct.pack("<Q", 4) + b"\xff\xfe\xfd\xfc",
    "tensors of something else": save_tensors({"a": np.zeros((3, 3), np.float32)}),
    "tensors with other metadata": save_tensors({"a": np.zeros(3)}, {"format": "pt"}),
    "our tensors, no metadata": save_tensors(
        {"0.weight": np.zeros((3, 2), np.float32), "0.bias": np.zeros(2, np.float32)}
    ),
}


@pytest.mark.parametrize("kind", OTHER_KINDS)
def test_a_file_of_another_kind_is_refused(kind, tmp_path):
    path = tmp_path / "other"
    path.write_bytes(OTHER_KINDS[kind])
    assert_refused(path)
    assert path.read_bytes() == OTHER_KINDS[kind]


# Hostile files ------------------------------------------------------------------------------------

DEEP = "[" * 200_000 + "]" * 200_000
"""JSON that a parser by recursive descent cannot take."""

HOSTILE_NETWORKS = [
    {"layers": [3, 4]},
    {"layers": [3, 4, 2, 2]},
    {"layers": [10**9, 10**9, 10**9]},
    {"layers": [3, 10**9, 2]},
    {"layers": [2**28, 2**28, 2**28]},
    {"layers": [3, 2**62, 2]},
    {"layers": [3, 10**400, 2]},
    {"layers": [3, -4, 2]},
    {"layers": [3, 4.0, 2]},
    {"layers": [3, True, 2]},
    {"layers": []},
    {"layers": "342"},
    {"layers": {"3": 1, "4": 1, "2": 1}},
    {"layers": None},
    {"layers": 3},
    {"layers": [1] * 100_000},
    {"layers": [[3, 4, 2]]},
    {"activations": ["tanh"]},
    {"activations": ["softmax", "tanh"]},
    {"activations": ["tanh", "swish"]},
    {"activations": ["tanh", None]},
    {"activations": ["tanh", "softmax", "softmax"]},
    {"activations": 5},
    {"activations": {"tanh": 1}},
    {"dtype": "float16"},
    {"dtype": "float64"},
    {"dtype": "(,)f4"},
    {"dtype": "(1,f4"},
    {"dtype": "f4,f4"},
    {"dtype": "(1000000000,)f4"},
    {"dtype": "O"},
    {"dtype": {"names": ["a"], "formats": ["f4"]}},
    {"dtype": {"formats": ["f4"]}},
    {"dtype": [["a", "f4"]]},
    {"dtype": ["a", "f4"]},
    {"dtype": None},
    {"dtype": 5},
    {"dtype": "\ud800"},
    {"init": -1},
    {"init": float("nan")},
    {"init": float("inf")},
    {"init": "magic"},
    {"init": None},
    {"init": True},
    {"init": [0.1]},
    {"seed": -1},
    {"seed": 2**64},
    {"seed": 0.5},
    {"seed": "0"},
    {"seed": None},
    {"epochs_trained": -1},
    {"epochs_trained": 2**64},
    {"epochs_trained": 1.5},
    {"epochs_trained": None},
    {"epochs_trained": "many"},
    {"trained_on": "float16"},
    {"trained_on": 5},
    {"trained_on": ["uint8"]},
    {"trained_on": {}},
    {"loss": None},
    {"loss": "focal"},
    {"loss": ["focal"]},
    {"loss": {}},
    {"loss": {"name": "hinge"}},
    {"loss": {"name": ["focal"]}},
    {"loss": {"name": "poisson"}},
    {"loss": {"name": "focal", "delta": 1}},
    {"loss": {"name": "focal", "gamma": -1}},
    {"loss": {"name": "focal", "gamma": 1e300}},
    {"loss": {"name": "focal", "gamma": "2"}},
    {"loss": {"name": "focal", "alpha": [1, 2, 3]}},
    {"loss": {"name": "cross_entropy", "class_weight": {"a": 1}}},
    {"loss": {"name": "cross_entropy", "class_weight": {"2": 1}}},
    {"loss": {"name": "custom"}},
    {"loss": {"name": "custom", "function": None}},
    {"loss": {"name": "custom", "function": "f", "gamma": 2}},
    {"more": 1},
    {"_weights": []},
    {"fit": 1},
]


def describe(change):
    return json.dumps(change)[:60]


@pytest.fixture
def header_and_data(tmp_path):
    path = tmp_path / "good"
    small().save(path)
    return read(path)


@pytest.mark.parametrize("change", HOSTILE_NETWORKS, ids=describe)
def test_a_hostile_description_is_refused(change, header_and_data, tmp_path):
    header, data = header_and_data
    network = json.loads(header["__metadata__"]["fastmlp"])
    header["__metadata__"]["fastmlp"] = json.dumps({**network, **change})
    path = tmp_path / "hostile"
    write(path, header, data)
    assert_refused(path)


def test_a_file_of_before_losses_could_be_chosen(header_and_data, tmp_path):
    header, data = header_and_data
    network = json.loads(header["__metadata__"]["fastmlp"])
    del network["loss"]
    header["__metadata__"]["fastmlp"] = json.dumps(network)
    write(tmp_path / "earlier", header, data)
    loaded = fm.load(tmp_path / "earlier")
    assert_same_network(loaded, small())
    assert loaded.loss == fm.losses.CrossEntropy()


@pytest.mark.parametrize("entry", ["format", *sorted(ATTRIBUTES)])
def test_a_description_that_lacks_an_entry_is_refused(entry, header_and_data, tmp_path):
    header, data = header_and_data
    network = json.loads(header["__metadata__"]["fastmlp"])
    del network[entry]
    header["__metadata__"]["fastmlp"] = json.dumps(network)
    write(tmp_path / "lacking", header, data)
    assert_refused(tmp_path / "lacking")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "null",
        "[]",
        "5",
        '"text"',
        "{}",
        "NaN",
        DEEP,
        '{"layers":' + DEEP + "}",
        "9" * 9999,
    ],
    ids=lambda text: text[:12],
)
def test_a_description_that_is_none_is_refused(text, header_and_data, tmp_path):
    header, data = header_and_data
    header["__metadata__"]["fastmlp"] = text
    write(tmp_path / "odd", header, data)
    assert_refused(tmp_path / "odd")


@pytest.mark.parametrize("version", ["", "1", 0, 2, 1.0, True, None, [1], 10**1000], ids=describe)
def test_another_version_is_refused(version, header_and_data, tmp_path):
    header, data = header_and_data
    network = json.loads(header["__metadata__"]["fastmlp"])
    header["__metadata__"]["fastmlp"] = json.dumps({**network, "format": version})
    write(tmp_path / "newer", header, data)
    assert_refused(tmp_path / "newer")


def edited(header, **changes):
    """Return a header with the entries of one tensor changed."""
    return {**header, "0.weight": {**header["0.weight"], **changes}}


HOSTILE_TENSORS = {
    "missing": lambda h: {name: value for name, value in h.items() if name != "1.bias"},
    "one more": lambda h: {**h, "2.bias": {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]}},
    "renamed": lambda h: {("2.bias" if n == "1.bias" else n): v for n, v in h.items()},
    "transposed": lambda h: edited(h, shape=[4, 3]),
    "flat": lambda h: edited(h, shape=[12]),
    "huge shape": lambda h: edited(h, shape=[10**9, 10**9]),
    "overflowing shape": lambda h: edited(h, shape=[2**63, 2]),
    "shape beyond 64 bits": lambda h: edited(h, shape=[2**64, 1]),
    "negative shape": lambda h: edited(h, shape=[-3, -4]),
    "empty shape": lambda h: edited(h, shape=[]),
    "offsets past the end": lambda h: edited(h, data_offsets=[0, 2**40]),
    "offsets reversed": lambda h: edited(h, data_offsets=h["0.weight"]["data_offsets"][::-1]),
    "overlapping": lambda h: edited(h, data_offsets=h["1.weight"]["data_offsets"]),
    "integers": lambda h: edited(h, dtype="I32"),
    "half": lambda h: edited(h, dtype="F16", shape=[3, 8]),
    "unknown dtype": lambda h: edited(h, dtype="X99"),
    "dtype of all bytes": lambda h: edited(h, dtype="U8", shape=[3, 16]),
}


@pytest.mark.parametrize("kind", HOSTILE_TENSORS)
def test_hostile_tensors_are_refused(kind, header_and_data, tmp_path):
    header, data = header_and_data
    write(tmp_path / "hostile", HOSTILE_TENSORS[kind](header), data)
    assert_refused(tmp_path / "hostile")


def test_a_header_of_deep_json_is_refused(header_and_data, tmp_path):
    _, data = header_and_data
    write(tmp_path / "deep", b'{"a":' + DEEP.encode() + b"}", data)
    assert_refused(tmp_path / "deep")


PARAMETERS = {
    "0.weight": "weights[0]",
    "0.bias": "biases[0]",
    "1.weight": "weights[1]",
    "1.bias": "biases[1]",
}


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_weights_that_are_not_finite_are_refused(value, dtype, tmp_path):
    net, path = small(dtype), tmp_path / "model"
    net.save(path)
    header, data = read(path)
    for name, words in PARAMETERS.items():
        stop = header[name]["data_offsets"][1]
        last = np.array(value, dtype).tobytes()
        write(path, header, data[: stop - len(last)] + last + data[stop:])
        assert_refused(path)
        with pytest.raises(
            ValueError, match=re.escape(f"{words} holds values that are not finite")
        ):
            fm.load(path)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_weights_that_are_not_finite_are_not_saved(value, dtype, tmp_path):
    path = tmp_path / "model"
    small(dtype).save(path)
    before = path.read_bytes()
    for parameter, words in zip(range(4), PARAMETERS.values(), strict=True):
        net = small(dtype)
        layer, kind = divmod(parameter, 2)
        (net.weights, net.biases)[kind][layer].flat[-1] = value
        with pytest.raises(
            ValueError, match=re.escape(f"{words} holds values that are not finite")
        ):
            net.save(path)
        with pytest.raises(ValueError, match="not finite"):
            net.save(tmp_path / "new")
        assert [entry.name for entry in tmp_path.iterdir()] == ["model"]
        assert path.read_bytes() == before


LOAD = """
import resource, sys
import fastmlp as fm
limit = 2**31
resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
try:
    fm.load(sys.argv[1])
except ValueError as error:
    print("refused")
"""


@pytest.mark.skipif(
    "asan" in os.environ.get("LD_PRELOAD", ""), reason="AddressSanitizer reserves terabytes"
)
def test_what_a_file_declares_is_not_allocated(header_and_data, tmp_path, run_python):
    """The limit of memory is 2 GB, the shapes declared take more."""
    pytest.importorskip("resource")
    header, data = header_and_data
    network = json.loads(header["__metadata__"]["fastmlp"])
    network["layers"] = [3, 2**28, 2]
    huge = edited(header, shape=[3, 2**28], data_offsets=[0, 3 * 2**30])
    huge["__metadata__"] = {"fastmlp": json.dumps(network)}
    write(tmp_path / "huge", huge, data)
    assert run_python(LOAD, tmp_path / "huge") == "refused\n"

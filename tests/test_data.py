"""Data sets: embedded digits, MNIST from folder, cache and mirror, files of every format."""

import errno
import gzip
import hashlib
import http.server
import io
import os
import re
import socket
import struct
import subprocess
import sys
import threading
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from fastmlp import data
from fastmlp.data import Dataset, DownloadError, mnist

CODES = {"u1": 0x08, "i1": 0x09, ">i2": 0x0B, ">i4": 0x0C, ">f4": 0x0D, ">f8": 0x0E}
REAL = os.environ.get("FASTMLP_DATA_DIR", "")
needs_mnist = pytest.mark.skipif(
    not (REAL and Path(REAL, "mnist").is_dir()),
    reason="FASTMLP_DATA_DIR names no folder with mnist",
)


def idx_bytes(values, dtype="u1"):
    values = np.asarray(values).astype(dtype)
    head = struct.pack(f">BBBB{values.ndim}I", 0, 0, CODES[dtype], values.ndim, *values.shape)
    return head + values.tobytes()


def small_mnist():
    """Files in the form of MNIST's, unpacked, with 7 training and 3 test images of 2 x 3 pixels."""
    rng = np.random.default_rng(0)
    files = {}
    for part, n in (("train", 7), ("t10k", 3)):
        files[f"{part}-images-idx3-ubyte"] = idx_bytes(rng.integers(0, 256, (n, 2, 3)))
        files[f"{part}-labels-idx1-ubyte"] = idx_bytes(rng.integers(0, 10, n))
    return files


def assert_small_mnist(ds):
    files = small_mnist()
    for X, y, part in ((ds.X_train, ds.y_train, "train"), (ds.X_test, ds.y_test, "t10k")):
        assert X.dtype == np.uint8
        assert y.dtype == np.int64
        assert X.shape == (len(y), 6)
        assert X.tobytes() == files[f"{part}-images-idx3-ubyte"][16:]
        assert y.astype(np.uint8).tobytes() == files[f"{part}-labels-idx1-ubyte"][8:]


def write_folder(folder, files, *, packed):
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        if packed:
            (folder / f"{name}.gz").write_bytes(gzip.compress(content))
        else:
            (folder / name).write_bytes(content)
    return folder


def write(path, content):
    content = content.encode() if isinstance(content, str) else content
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)
    return path


# The digits


def test_digits_equal_those_of_scikit_learn():
    datasets = pytest.importorskip("sklearn.datasets")
    pixels, labels = datasets.load_digits(return_X_y=True)
    test = np.arange(1797) % 5 == 4
    ds = data.load("digits")
    assert isinstance(ds, Dataset)
    assert [array.dtype for array in ds] == [np.float32, np.int64, np.float32, np.int64]
    assert [len(array) for array in ds] == [1438, 1438, 359, 359]
    np.testing.assert_array_equal(ds.X_train * 16, pixels[~test])
    np.testing.assert_array_equal(ds.X_test * 16, pixels[test])
    np.testing.assert_array_equal(ds.y_train, labels[~test])
    np.testing.assert_array_equal(ds.y_test, labels[test])


def test_digits_need_numpy_alone():
    code = (
        "import sys\n"
        "for name in ('pooch', 'tqdm', 'requests', 'sklearn', 'scipy', 'pandas'):\n"
        "    sys.modules[name] = None\n"
        "import fastmlp.data\n"
        "print(len(fastmlp.data.load('digits').X_train))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "1438"


def test_each_load_is_a_copy_of_its_own():
    data.load("digits").X_train[:] = -1
    assert data.load("digits").X_train.min() == 0


# MNIST


class Mirror:
    """Files served over HTTP, and the paths that were asked for."""

    def __init__(self, files, *, cut=False):
        asked = self.asked = []

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                asked.append(self.path)
                content = files.get(self.path.removeprefix("/mnist/"))
                if content is None:
                    self.send_error(404)
                    return
                self.send_response(200)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content[: len(content) // 2] if cut else content)

            def log_message(self, *args):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/mnist/"
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.02,))

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *exception):
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """The folder of the cache, empty, on a machine that has no MNIST."""
    for name in ("FASTMLP_DATA_DIR", "FASTMLP_MNIST_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    return tmp_path / "cache" / "fastmlp" / "mnist"


@pytest.fixture
def packed(cache, monkeypatch):
    """Small files in place of MNIST's, packed, with their checksums in force."""
    files = small_mnist()
    sums = {name: hashlib.md5(content).hexdigest() for name, content in files.items()}
    monkeypatch.setattr(mnist, "MD5", sums)
    return {f"{name}.gz": gzip.compress(content) for name, content in files.items()}


@pytest.fixture
def closed_url():
    """An address of this machine where nothing listens."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{unused.getsockname()[1]}/"


def test_mnist_is_downloaded_once_and_kept(packed, cache, monkeypatch):
    with Mirror(packed) as mirror:
        monkeypatch.setattr(mnist, "MIRRORS", (mirror.url,))
        assert_small_mnist(data.load("mnist"))
        assert_small_mnist(data.load("mnist"))
    assert mirror.asked == [f"/mnist/{name}" for name in packed]
    assert sorted(path.name for path in cache.iterdir()) == sorted(packed)


def test_reading_the_cache_needs_no_pooch(packed, cache, monkeypatch):
    write_folder(cache, small_mnist(), packed=False)
    monkeypatch.setitem(sys.modules, "pooch", None)
    assert_small_mnist(data.load("mnist"))


def test_missing_pooch_names_the_extra(packed, monkeypatch):
    monkeypatch.setitem(sys.modules, "pooch", None)
    with pytest.raises(ImportError, match=re.escape("pip install 'fastmlp[data]'")):
        data.load("mnist")


def test_download_without_tqdm(packed, monkeypatch):
    monkeypatch.setattr(mnist, "find_spec", lambda name: None)
    with Mirror(packed) as mirror:
        monkeypatch.setenv("FASTMLP_MNIST_URL", mirror.url.rstrip("/"))
        assert_small_mnist(data.load("mnist"))


def test_mirrors_are_tried_in_order_and_a_good_one_is_kept(packed, monkeypatch, closed_url):
    with Mirror({}) as empty, Mirror(packed) as good:
        monkeypatch.setattr(mnist, "MIRRORS", (closed_url, empty.url, good.url))
        assert_small_mnist(data.load("mnist"))
    assert len(empty.asked) == 1
    assert len(good.asked) == 4


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"<html>Please log in</html>", "not an IDX file"),
        (gzip.compress(idx_bytes(np.zeros((7, 2, 3)))), "MD5"),
        (gzip.compress(idx_bytes(np.zeros((7, 2, 3)))[:-1]), "ends at byte"),
        (gzip.compress(b"")[:8], "cut short"),
    ],
    ids=["page", "other", "short", "gzip"],
)
def test_a_bad_download_is_rejected_and_not_kept(packed, cache, monkeypatch, content, complaint):
    bad = packed | {"train-images-idx3-ubyte.gz": content}
    with Mirror(bad) as mirror:
        monkeypatch.setattr(mnist, "MIRRORS", (mirror.url,))
        with pytest.raises(DownloadError, match=complaint) as caught:
            data.load("mnist")
    assert str(cache / ".download") not in str(caught.value)
    assert list(cache.iterdir()) == []
    with Mirror(packed) as good, Mirror(bad) as mirror:
        monkeypatch.setattr(mnist, "MIRRORS", (mirror.url, good.url))
        assert_small_mnist(data.load("mnist"))
    assert sorted(path.name for path in cache.iterdir()) == sorted(packed)


def test_a_connection_that_breaks_leaves_nothing(packed, cache, monkeypatch):
    with Mirror(packed, cut=True) as mirror:
        monkeypatch.setattr(mnist, "MIRRORS", (mirror.url,))
        with pytest.raises(DownloadError):
            data.load("mnist")
    assert list(cache.iterdir()) == []


@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_a_damaged_file_of_the_cache_is_fetched_anew(packed, cache, monkeypatch, suffix):
    write_folder(cache, small_mnist(), packed=True)
    damaged = cache / f"t10k-images-idx3-ubyte{suffix}"
    damaged.write_bytes(idx_bytes(np.zeros((3, 2, 3))))
    with Mirror(packed) as mirror:
        monkeypatch.setattr(mnist, "MIRRORS", (mirror.url,))
        assert_small_mnist(data.load("mnist"))
    assert len(mirror.asked) == (1 if suffix else 0)
    assert sorted(path.name for path in cache.iterdir()) == sorted(packed)


def test_without_network_the_error_says_what_to_do(packed, cache, monkeypatch, closed_url):
    monkeypatch.setattr(mnist, "MIRRORS", (closed_url,))
    with pytest.raises(ConnectionError) as caught:
        data.load("mnist")
    told = str(caught.value)
    for advice in (closed_url, str(cache), "FASTMLP_DATA_DIR", "set digits", *packed):
        assert advice in told


@pytest.mark.parametrize("problem", ["file", "denied", "full"])
def test_a_cache_that_cannot_be_used_leads_to_advice(packed, cache, monkeypatch, problem):
    def refuse(*_, **__):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), "somewhere")

    def fail(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    if problem == "file":
        cache.parent.parent.mkdir()
        cache.parent.write_text("")
    elif problem == "denied":
        monkeypatch.setattr(Path, "mkdir", refuse)
    else:
        monkeypatch.setattr(Path, "replace", fail)
    with Mirror(packed) as mirror:
        monkeypatch.setattr(mnist, "MIRRORS", (mirror.url,))
        with pytest.raises(DownloadError, match=r"XDG_CACHE_HOME.* FASTMLP_DATA_DIR") as caught:
            data.load("mnist")
    assert str(caught.value).startswith(f"{cache}: MNIST cannot be kept in this cache (")


@pytest.mark.parametrize("is_packed", [True, False], ids=["gz", "plain"])
def test_mnist_in_the_data_folder(packed, tmp_path, monkeypatch, is_packed):
    write_folder(tmp_path / "sets" / "mnist", small_mnist(), packed=is_packed)
    monkeypatch.setenv("FASTMLP_DATA_DIR", str(tmp_path / "sets"))
    assert_small_mnist(data.load("mnist"))


def test_a_data_folder_without_mnist_leads_to_the_cache(packed, cache, tmp_path, monkeypatch):
    write_folder(cache, small_mnist(), packed=True)
    monkeypatch.setenv("FASTMLP_DATA_DIR", str(tmp_path))
    assert_small_mnist(data.load("mnist"))


def test_a_wrong_file_in_the_data_folder_stays_and_is_named(packed, tmp_path, monkeypatch):
    folder = write_folder(tmp_path / "mnist", small_mnist(), packed=False)
    monkeypatch.setenv("FASTMLP_DATA_DIR", str(tmp_path))
    wrong = folder / "t10k-labels-idx1-ubyte"
    wrong.write_bytes(idx_bytes([1, 2, 3]))
    with pytest.raises(ValueError, match=r"t10k-labels-idx1-ubyte: the MD5 .* expected"):
        data.load("mnist")
    wrong.unlink()
    with pytest.raises(FileNotFoundError, match="t10k-labels-idx1-ubyte"):
        data.load("mnist")


def test_the_cache_lies_where_the_system_keeps_caches(monkeypatch):
    monkeypatch.setattr(Path, "home", lambda: Path("home"))
    for name in ("XDG_CACHE_HOME", "LOCALAPPDATA"):
        monkeypatch.delenv(name, raising=False)
    for platform, folder in (
        ("linux", ".cache"),
        ("darwin", "Library/Caches"),
        ("win32", "AppData/Local"),
    ):
        monkeypatch.setattr(mnist.sys, "platform", platform)
        assert mnist.cache_folder() == Path("home", folder, "fastmlp", "mnist")


@needs_mnist
def test_the_real_mnist():
    ds = data.load("mnist")
    assert [array.shape for array in ds] == [(60000, 784), (60000,), (10000, 784), (10000,)]
    assert [array.dtype for array in ds] == [np.uint8, np.int64, np.uint8, np.int64]
    assert np.count_nonzero(ds.X_train) / ds.X_train.size == pytest.approx(0.1912, abs=5e-5)
    assert ds.y_train[:5].tolist() == [5, 0, 4, 1, 9]
    assert np.bincount(ds.y_test).tolist() == [
        980,
        1135,
        1032,
        1010,
        982,
        892,
        958,
        1028,
        974,
        1009,
    ]
    for array, other in zip(ds, data.load(Path(REAL, "mnist")), strict=True):
        np.testing.assert_array_equal(array, other)


@needs_mnist
def test_the_real_mnist_downloads_and_passes_its_checksums(cache, monkeypatch):
    packed = {}
    for name in mnist.MD5:
        plain, gz = Path(REAL, "mnist", name), Path(REAL, "mnist", f"{name}.gz")
        packed[f"{name}.gz"] = gz.read_bytes() if gz.exists() else plain.read_bytes()
    with Mirror(packed) as mirror:
        monkeypatch.setenv("FASTMLP_MNIST_URL", mirror.url)
        assert data.load("mnist").X_train.shape == (60000, 784)
    assert len(list(cache.iterdir())) == 4


# CSV


@pytest.mark.parametrize("name", ["a.csv", "a.csv.gz", "a.txt"])
@pytest.mark.parametrize("header", ["", "label,1x1,1x2\n", "label,0,1\n", '"label","p1","p2"\n'])
def test_csv_label_first(tmp_path, name, header):
    path = write(tmp_path / name, header + "5,0,255\n7,12,3\n")
    X, y = data.read(path)
    assert X.dtype == np.uint8
    assert X.tolist() == [[0, 255], [12, 3]]
    assert y.dtype == np.int64
    assert y.tolist() == [5, 7]


@pytest.mark.parametrize(
    "text",
    [
        "5,0,255\r\n7,12,3\r\n",
        "5,0,255\r7,12,3",
        "\n \n5,0,255\n\n7,12,3\n\n  \n",
        " 5 ,\t0, 255 \n7, 12 ,3  \n",
        "\ufeff5,0,255\n7,12,3\n",
        "\ufefflabel,a,b\r\n5.0,0,2.55e2\n+7,12.0,3.\n",
    ],
    ids=["crlf", "cr", "blank", "spaces", "bom", "reals"],
)
def test_csv_is_read_with_tolerance(tmp_path, text):
    X, y = data.read(write(tmp_path / "a.csv", text))
    assert X.dtype == np.uint8
    assert X.tolist() == [[0, 255], [12, 3]]
    assert y.tolist() == [5, 7]


@pytest.mark.parametrize("value", ["0.5", "-1", "256", "1e10", "65536", "99999999999999999999"])
def test_csv_of_other_numbers_is_float32(tmp_path, value):
    X, y = data.read(write(tmp_path / "a.csv", f"0,1,2\n1,3,{value}\n"))
    assert X.dtype == np.float32
    np.testing.assert_array_equal(X, np.array([[1, 2], [3, float(value)]], np.float32))
    assert y.dtype == np.int64


def test_csv_targets_that_are_not_whole_are_float64(tmp_path):
    X, y = data.read(write(tmp_path / "a.csv", "0.1,1,2\n1,3,4\n"))
    assert X.dtype == np.uint8
    assert y.dtype == np.float64
    assert y.tolist() == [0.1, 1.0]


BROKEN = [
    ("", "the file is empty"),
    ("\n  \n", "the file is empty"),
    ("label,a,b\n", "no row after the names in line 1"),
    ("1\n2\n", "line 1: there is one column"),
    ("label\n2\n", "line 1: there is one column"),
    ("1;2;3\n", "line 1: there is one column"),
    ("1,2,3\n4,5,x\n", "line 2, column 3: 'x' is not a number"),
    ("label,a,b\n\n1,2,3\n4,,6\n", "line 4, column 2: '' is not a number"),
    ("label,a,b\r\n1,2,3\r\n4,5\r\n", "line 3: the row has 2 columns, line 1 has 3"),
    ("1,2,3\n4\n", "line 2: the row has 1 column, line 1 has 3"),
    ("1,2\n4,5,6\n", "line 2: the row has 3 columns, line 1 has 2"),
    ("1,2,3,\n", "line 1, column 4: '' is not a number"),
    ("x,5,5,7\n1,2,3,4\n", "line 1, column 1: 'x' is not a number"),
    ("1,2,3\n4,nan,6\n", "line 2, column 2: 'nan' is not a finite number"),
    ("1,2,3\n4,5,-inf\n", "line 2, column 3: '-inf' is not a finite number"),
    ("1,2,3\n4,5,1e39\n", "line 2, column 3: '1e39' is not a finite number"),
    ("1,2,3\nNaN,5,6\n", "line 2, column 1: 'NaN' is not a finite number"),
    ("1,2,3\n4,5_0,6\n", "line 2, column 2: '5_0' is not a number"),
    ("1,2,3\n4,0x1,6\n", "line 2, column 2: '0x1' is not a number"),
    ("1,2,3\n4,\uff15,6\n", "line 2, column 2: '\uff15' is not a number"),
    ("1,2,3\n#4,5,6\n", "line 2, column 1: '#4' is not a number"),
    (b"1,2,3\n4,\xff,6\n", "line 2, column 2: '\ufffd' is not a number"),
    (f"1,2,3\n4,5,{'y' * 1000}\n", f"line 2, column 3: '{'y' * 40}...' is not a number"),
]


@pytest.mark.parametrize(("text", "complaint"), BROKEN, ids=range(len(BROKEN)))
@pytest.mark.parametrize("name", ["broken.csv", "broken.csv.gz"])
def test_a_broken_csv_names_the_line(tmp_path, name, text, complaint):
    path = write(tmp_path / name, text)
    with pytest.raises(ValueError, match=re.escape(complaint)) as caught:
        data.load(path)
    assert str(caught.value).startswith(str(path))


def test_the_line_is_right_beyond_the_first_rows(tmp_path):
    rows = ["1,2,3"] * 10_000
    rows[9_876] = "1,2,oops"
    with pytest.raises(ValueError, match="line 9878, column 3"):
        data.read(write(tmp_path / "a.csv", "\n".join(["label,a,b", *rows])))
    rows[9_876] = "1,2"
    with pytest.raises(ValueError, match="line 9878: the row has 2 columns"):
        data.read(write(tmp_path / "a.csv", "\n".join(["label,a,b", *rows])))
    rows[4095:] = ["1,2"] * 5000
    with pytest.raises(ValueError, match="line 4096: the row has 2 columns"):
        data.read(write(tmp_path / "a.csv", "\n".join(rows)))


def test_a_late_real_number_makes_all_features_float32(tmp_path):
    rows = ["1,2,3"] * 5_000 + ["1,2,0.5"]
    X, _ = data.read(write(tmp_path / "a.csv", "\n".join(rows)))
    assert X.dtype == np.float32
    assert X[0].tolist() == [2, 3]
    assert X[-1].tolist() == [2, 0.5]


@given(
    X=hnp.arrays(
        np.float32,
        hnp.array_shapes(min_dims=2, max_dims=2, max_side=6),
        elements=st.floats(width=32, allow_nan=False, allow_infinity=False),
    ),
    seed=st.integers(0, 2**32 - 1),
)
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_csv_round_trip_of_reals(tmp_path, X, seed):
    y = np.random.default_rng(seed).standard_normal(len(X))
    path = tmp_path / "round.csv"
    path.write_text(
        "".join(
            ",".join([repr(float(t)), *(repr(float(v)) for v in row)]) + "\n"
            for t, row in zip(y, X, strict=True)
        )
    )
    read, labels = data.read(path)
    np.testing.assert_array_equal(read, X)
    np.testing.assert_array_equal(labels, y)
    pixels = bool(np.all((X >= 0) & (X <= 255) & (X % 1 == 0)))
    assert read.dtype == (np.uint8 if pixels else np.float32)


@given(
    X=hnp.arrays(np.uint8, hnp.array_shapes(min_dims=2, max_dims=2, max_side=6)),
    end=st.sampled_from(["\n", "\r\n"]),
    names=st.booleans(),
    first=st.integers(-(2**53) + 1, 2**53 - 1),
)
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_csv_round_trip_of_pixels(tmp_path, X, end, names, first):
    y = np.full(len(X), first)
    rows = [",".join(map(str, [t, *row])) for t, row in zip(y.tolist(), X.tolist(), strict=True)]
    head = ["label," + ",".join(f"p{i}" for i in range(X.shape[1]))] if names else []
    path = write(tmp_path / "round.csv.gz", end.join(head + rows))
    read, labels = data.read(path)
    assert read.dtype == np.uint8
    np.testing.assert_array_equal(read, X)
    np.testing.assert_array_equal(labels, y)


# .npz


def test_npz_of_keras(tmp_path):
    rng = np.random.default_rng(0)
    x_train, x_test = rng.integers(0, 256, (6, 2, 3), np.uint8), np.zeros((2, 2, 3), np.uint8)
    path = tmp_path / "mnist.npz"
    np.savez(
        path, x_train=x_train, y_train=np.arange(6, dtype=np.uint8), x_test=x_test, Y_TEST=[1, 2]
    )
    ds = data.load(path)
    assert [array.shape for array in ds] == [(6, 6), (6,), (2, 6), (2,)]
    assert [array.dtype for array in ds] == [np.uint8, np.int64, np.uint8, np.int64]
    np.testing.assert_array_equal(ds.X_train, x_train.reshape(6, 6))
    with pytest.raises(ValueError, match="one set of rows"):
        data.read(path)


@pytest.mark.parametrize(
    ("dtype", "expected"),
    [
        ("u1", "u1"),
        ("?", "f4"),
        ("i8", "u1"),
        (">i4", "u1"),
        ("f2", "f4"),
        ("f4", "f4"),
        (">f4", "f4"),
        ("f8", "f8"),
    ],
)
@pytest.mark.parametrize("order", ["C", "F"])
def test_npz_features_by_dtype(tmp_path, dtype, expected, order):
    X = np.asarray(np.arange(12).reshape(4, 3), dtype, order=order)
    np.savez_compressed(tmp_path / "a.npz", X=X, y=np.eye(4))
    read, y = data.read(tmp_path / "a.npz")
    assert read.dtype == np.dtype(expected)
    assert read.dtype.isnative
    np.testing.assert_array_equal(read, X)
    np.testing.assert_array_equal(y, np.eye(4))


def test_npz_headers_of_other_versions(tmp_path):
    X = np.ones((2, 2))
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        for version in ((2, 0), (3, 0)):
            with archive.open("X.npy" if version == (2, 0) else "y.npy", "w") as member:
                np.lib.format.write_array(member, X, version=version)
    with pytest.raises(ValueError, match=r"y\.npy: .*version \(3, 0\)"):
        data.read(tmp_path / "a.npz")


def test_npz_integers_beyond_a_byte_are_float32(tmp_path):
    np.savez(tmp_path / "a.npz", x=[[-1, 5]], Y=[[3.0]], note="of no concern")
    X, y = data.read(tmp_path / "a.npz")
    assert X.dtype == np.float32
    assert X.tolist() == [[-1, 5]]
    assert y.dtype == np.int64
    assert y.tolist() == [3]


def npz_with_header(descr, shape, payload=b"", extra=""):
    header = f"{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, {extra}}}\n".encode()
    member = b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + payload
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("X.npy", member)
        archive.writestr("y.npy", member)
    return buffer.getvalue()


def npz_with_directory(*, shift=0, name=b"X.npy"):
    """A sound archive, but its directory placed or its first member named otherwise."""
    content = bytearray(npz_with_header("|u1", (2, 2), b"1234"))
    entry = content.index(b"PK\x01\x02")
    content[entry + 8 : entry + 10] = struct.pack("<H", 0x800)  # the name is in UTF-8
    content[entry + 46 : entry + 51] = name
    content[-6:-2] = struct.pack("<I", entry + shift)
    return bytes(content)


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"", "not an .npz archive"),
        (b"PK\x03\x04 and then nothing", "not an .npz archive"),
        (npz_with_directory(shift=50), "not an .npz archive"),
        (npz_with_directory(name=b"\xca.npy"), "not an .npz archive"),
        (
            npz_with_header("<f8", (2**40, 2**20)),
            "9,223,372,036,854,775,808 bytes, but there are 0",
        ),
        (npz_with_header("<f8", (2**70, 0)), "no values"),
        (npz_with_header("<f8", (-1, -8), b"0" * 64), "declares the shape"),
        (npz_with_header("|u1", (2, 2), b"12345"), "4 bytes, but there are more"),
        (npz_with_header("|u1", (2, 2), b"123"), "4 bytes, but there are 3"),
        (npz_with_header("|O", (1,), b"pickle"), "numbers are needed"),
        (npz_with_header("|u1", (2, 2), b"1234", "'more': 1"), "header is damaged"),
        (npz_with_header("zz", (2, 2), b"1234"), "header is damaged"),
        (npz_with_header("|u1", "(" * 200, b"1234"), "header is damaged"),
    ],
    ids=range(13),
)
def test_broken_and_hostile_npz(tmp_path, content, complaint):
    path = write(tmp_path / "a.npz", content)
    with pytest.raises(ValueError, match=re.escape(complaint)) as caught:
        data.load(path)
    assert str(caught.value).startswith(str(path))


@pytest.mark.parametrize(
    ("arrays", "complaint"),
    [
        ({}, "there is none of them"),
        ({"X": np.ones((2, 2))}, "there is x"),
        ({"x_train": np.ones((2, 2)), "y_train": np.ones(2)}, "there is x_train, y_train"),
        ({"X": np.ones((2, 2)), "x": np.ones((2, 2)), "y": [1, 2]}, "two arrays named x"),
        ({"X": np.ones((2, 2)), "y": [1, 2, 3]}, "2 samples but 3 labels"),
        ({"X": np.ones(2), "y": [1, 2]}, "rows and columns"),
        ({"X": [[1, 2], [3, np.nan]], "y": [1, 2]}, "row 1, column 1 is nan"),
        ({"X": np.ones((2, 2)), "y": [1, np.inf]}, "row 1, column 0 is inf"),
        ({"X": np.ones((2, 2)), "y": np.ones((2, 2, 2))}, "labels must be"),
        ({"X": np.ones((2, 2)), "y": ["a", "b"]}, "numbers are needed"),
        ({"X": np.ones((0, 2)), "y": np.ones(0)}, "no values"),
    ],
    ids=range(11),
)
def test_npz_with_the_wrong_arrays(tmp_path, arrays, complaint):
    np.savez(tmp_path / "a.npz", **arrays)
    with pytest.raises(ValueError, match=re.escape(complaint)):
        data.read(tmp_path / "a.npz")


# IDX


@pytest.mark.parametrize("is_packed", [True, False], ids=["gz", "plain"])
def test_idx_folder(tmp_path, is_packed):
    assert_small_mnist(data.load(write_folder(tmp_path, small_mnist(), packed=is_packed)))


def test_idx_folder_with_dots_in_the_names(tmp_path):
    files = {name.replace("-idx", ".idx"): content for name, content in small_mnist().items()}
    assert_small_mnist(data.load(write_folder(tmp_path, files, packed=False)))


def test_idx_folder_without_test_part_is_split(tmp_path):
    files = {name: content for name, content in small_mnist().items() if "train" in name}
    ds = data.load(write_folder(tmp_path, files, packed=True))
    assert [len(array) for array in ds] == [6, 6, 1, 1]


def test_idx_pair(tmp_path):
    write_folder(tmp_path, small_mnist(), packed=True)
    images = tmp_path / "train-images-idx3-ubyte.gz"
    assert_small_mnist(data.load(images, test=tmp_path / "t10k-images-idx3-ubyte.gz"))
    X, y = data.read(images)
    assert X.shape == (7, 6)
    assert y.shape == (7,)
    (tmp_path / "train-labels-idx1-ubyte.gz").unlink()
    with pytest.raises(FileNotFoundError, match="labels"):
        data.read(images)
    with pytest.raises(FileNotFoundError, match="train-labels-idx1-ubyte"):
        data.load(tmp_path)


@pytest.mark.parametrize("dtype", CODES)
def test_idx_types(tmp_path, dtype):
    values = np.array([[0, 1], [100, 127]])
    write(tmp_path / "a-images-idx3-ubyte", idx_bytes(values, dtype))
    X = data.read_features(tmp_path / "a-images-idx3-ubyte", 2)
    assert X.dtype == {">f4": np.float32, ">f8": np.float64}.get(dtype, np.uint8)
    assert X.dtype.isnative
    np.testing.assert_array_equal(X, values)


WHOLE = idx_bytes(np.arange(6).reshape(3, 2))
BROKEN_IDX = [
    (b"\0\0", "bytes 0 to 3 are 00 00"),
    (b"\0\0\x07\x02" + WHOLE[4:], "bytes 0 to 3 are 00 00 07 02"),
    (b"\0\0\x08\0", "byte 3 of the IDX header gives rank 0"),
    (b"\0\0\x08\xff" + bytes(2000), "byte 3 of the IDX header gives rank 255"),
    (WHOLE[:9], "takes 12 bytes, the file ends at byte 9"),
    (WHOLE[:-1], "declares 3 x 2 values, 18 bytes with the header, but the file ends at byte 17"),
    (WHOLE + b"\0", "end at byte 18, but the file goes on"),
    (b"\0\0\x08\x02" + struct.pack(">2I", 0, 5), "0 x 5 values, none at all"),
    (b"\0\0\x0e\x04" + b"\xff" * 16 + bytes(64), "but the file ends at byte 84"),
]


@pytest.mark.parametrize(("content", "complaint"), BROKEN_IDX, ids=range(len(BROKEN_IDX)))
@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_broken_and_hostile_idx(tmp_path, content, complaint, suffix):
    path = write(tmp_path / f"a-images-idx3-ubyte{suffix}", content)
    with pytest.raises(ValueError, match=re.escape(complaint)) as caught:
        data.read_features(path, 2)
    assert str(caught.value).startswith(str(path))


@given(place=st.integers(0, 2**20), bit=st.integers(0, 7), cut=st.booleans())
@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@pytest.mark.parametrize("name", ["a.csv.gz", "a.npz", "a-images-idx3-ubyte.gz"])
def test_damage_is_a_value_error_or_harmless(tmp_path, name, place, bit, cut):
    pristine = tmp_path / "pristine" / name
    if not pristine.exists():
        pristine.parent.mkdir()
        if name == "a.npz":
            np.savez_compressed(pristine, X=np.arange(20.0).reshape(10, 2), y=np.arange(10))
        elif name == "a.csv.gz":
            write(pristine, "label,a,b\n" + "1,2,3\n" * 10)
        else:
            write(pristine, idx_bytes(np.arange(20).reshape(10, 2)))
    content = bytearray(pristine.read_bytes())
    place %= len(content)
    if cut:
        del content[place:]
    else:
        content[place] ^= 1 << bit
    path = tmp_path / name
    path.write_bytes(content)
    try:
        X = data.read_features(path, 2)
    except ValueError as error:
        complaint = str(error)
    else:
        complaint = None
    assert X.shape == (10, 2) if complaint is None else str(path) in complaint


# Parts, names and features to predict on


def test_every_fifth_row_is_held_out(tmp_path):
    path = write(tmp_path / "a.csv", "".join(f"{i},{i},0\n" for i in range(12)))
    ds = data.load(path)
    assert ds.y_test.tolist() == [4, 9]
    assert ds.X_test[:, 0].tolist() == [4, 9]
    assert ds.y_train.tolist() == [0, 1, 2, 3, 5, 6, 7, 8, 10, 11]
    assert ds.X_train[:, 0].tolist() == ds.y_train.tolist()
    write(path, "1,2\n" * 4)
    with pytest.raises(ValueError, match="only 4 rows; the test part can also be a file"):
        data.load(path)


def test_a_test_file_is_the_test_part(tmp_path):
    train = write(tmp_path / "train.csv", "1,2,3\n4,5,6\n")
    test = write(tmp_path / "test.csv.gz", "label,a,b\n7,8,9\n")
    ds = data.load(str(train), test=str(test))
    assert [array.tolist() for array in ds] == [[[2, 3], [5, 6]], [1, 4], [[8, 9]], [7]]
    write(test, "7,8\n")
    with pytest.raises(ValueError, match="has 2 features, the test part 1"):
        data.load(train, test=test)


def test_both_parts_are_scaled_or_none(tmp_path):
    train = write(tmp_path / "train.csv", "1,2,3\n4,5,6\n")
    test = write(tmp_path / "test.csv", "7,8,9.5\n")
    for ds in (data.load(train, test=test), data.load(test, test=train)):
        assert ds.X_train.dtype == ds.X_test.dtype == np.float32
    assert ds.X_test.tolist() == [[2, 3], [5, 6]]


def test_the_training_part_decides_what_labels_are(tmp_path):
    whole = write(tmp_path / "whole.csv", "1,2,3\n4,5,6\n")
    real = write(tmp_path / "real.csv", "1,8,9\n0.5,8,9\n")
    with pytest.raises(
        ValueError, match=r"the label of row 1 is 0\.5; all labels of the"
    ) as caught:
        data.load(whole, test=real)
    assert str(caught.value).startswith(str(real))
    ds = data.load(real, test=whole)
    assert ds.y_train.dtype == ds.y_test.dtype == np.float64
    assert ds.y_test.tolist() == [1, 4]

    parts = {"x_train": np.ones((2, 2)), "x_test": np.ones((2, 2)), "y_train": [0, 1]}
    np.savez(tmp_path / "parts.npz", y_test=[0, 0.5], **parts)
    with pytest.raises(ValueError, match=r"parts\.npz, test part: the label of row 1 is 0\.5"):
        data.load(tmp_path / "parts.npz")


def test_labels_of_both_parts_must_match(tmp_path):
    np.savez(tmp_path / "a.npz", X=np.ones((2, 2)), y=np.eye(2))
    np.savez(tmp_path / "b.npz", X=np.ones((2, 2)), y=np.ones(2))
    with pytest.raises(ValueError, match="labels of the training part"):
        data.load(tmp_path / "a.npz", test=tmp_path / "b.npz")


@pytest.mark.parametrize("source", ["MNIST", "nowhere.csv", Path("nowhere")])
def test_unknown_names_and_missing_paths(source):
    with pytest.raises(FileNotFoundError, match=r"nowhere|MNIST") as caught:
        data.load(source)
    assert "'digits' and 'mnist'" in str(caught.value)


def test_devices_and_pipes_are_refused(tmp_path):
    os.mkfifo(tmp_path / "pipe.csv")
    for path in (tmp_path / "pipe.csv", "/dev/null"):
        for read in (data.load, data.read, lambda path: data.read_features(path, 2)):
            with pytest.raises(ValueError, match=f"{path}: a device or a pipe"):
                read(path)


def test_other_misuse(tmp_path):
    with pytest.raises(TypeError, match="not int"):
        data.load(3)
    with pytest.raises(ValueError, match="test"):
        data.load("digits", test="a.csv")
    with pytest.raises(ValueError, match="format is not known"):
        data.load(write(tmp_path / "picture.png", b"\x89PNG"))
    with pytest.raises(FileNotFoundError, match="train-images-idx3-ubyte"):
        data.load(tmp_path)
    write_folder(tmp_path, small_mnist(), packed=False)
    with pytest.raises(ValueError, match="one set of rows"):
        data.read(tmp_path)
    with pytest.raises(ValueError, match="folder"):
        data.read_features(tmp_path, 6)


@pytest.mark.parametrize(
    "text", ["1,2\n3,4\n", "a,b\n1,2\n3,4\n", "9,1,2\n9,3,4\n", "y,a,b\n9,1,2\n9,3,4"]
)
def test_features_of_a_csv_with_or_without_labels(tmp_path, text):
    X = data.read_features(write(tmp_path / "a.csv", text), 2)
    assert X.dtype == np.uint8
    assert X.tolist() == [[1, 2], [3, 4]]


def test_one_feature_alone_in_its_rows(tmp_path):
    assert data.read_features(write(tmp_path / "a.csv", "0.5\n2\n"), 1).tolist() == [[0.5], [2]]


def test_features_of_npz_and_idx(tmp_path):
    np.savez(tmp_path / "a.npz", X=np.ones((3, 2, 2), np.float32))
    assert data.read_features(tmp_path / "a.npz", 4).shape == (3, 4)
    write_folder(tmp_path, small_mnist(), packed=True)
    assert data.read_features(tmp_path / "t10k-images-idx3-ubyte.gz", 6).shape == (3, 6)
    np.savez(tmp_path / "b.npz", y=np.ones(3))
    with pytest.raises(ValueError, match="X is needed, there is y"):
        data.read_features(tmp_path / "b.npz", 4)


def test_features_of_another_width(tmp_path):
    with pytest.raises(ValueError, match="line 1: there are 4 columns; 2 features are needed"):
        data.read_features(write(tmp_path / "a.csv", "1,2,3,4\n"), 2)
    np.savez(tmp_path / "a.npz", X=np.ones((3, 4)))
    with pytest.raises(ValueError, match="4 features, 2 are needed"):
        data.read_features(tmp_path / "a.npz", 2)

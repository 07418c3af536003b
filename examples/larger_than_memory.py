"""Train on a file that need not fit into memory, block by block, and on batches of a generator."""

import tempfile
from pathlib import Path

import numpy as np

import fastmlp as fm

N, WIDTH = 40_000, 32


def make(rng, n):
    """Return samples, and which of their first three numbers is the largest."""
    X = rng.normal(size=(n, WIDTH)).astype(np.float32)
    return X, X[:, :3].argmax(axis=1)


def write(folder, rng):
    """Write samples a part at a time, as a program would that never holds all of them."""
    X = np.lib.format.open_memmap(folder / "X.npy", "w+", np.float32, (N, WIDTH))
    y = np.lib.format.open_memmap(folder / "y.npy", "w+", np.uint8, (N,))
    for start in range(0, N, 5_000):
        X[start : start + 5_000], y[start : start + 5_000] = make(rng, 5_000)


def batches():
    """Make batches as they are needed, the same in every epoch."""
    rng = np.random.default_rng(2)
    for _ in range(300):
        yield make(rng, 50)


rng = np.random.default_rng(0)
X_test, y_test = make(rng, 5_000)

with tempfile.TemporaryDirectory() as name:
    folder = Path(name)
    write(folder, rng)
    # Mapped for reading only. Blocks are 64 MiB unless `rows` says otherwise; the next one is read
    # while the network trains on the one before.
    X, y = (np.load(folder / file, mmap_mode="r") for file in ("X.npy", "y.npy"))
    data = fm.data.Blocks(X, y, rows=10_000)
    net = fm.MLP([WIDTH, 64, 3], seed=0)
    net.fit(data, epochs=8, lr=0.005, optimizer="adam", verbose=1, validation_data=(X_test, y_test))
    on_file, on_new = net.score(data), net.score(X_test, y_test)
    print(f"{on_file:.1%} right on the file, {on_new:.1%} on new samples")
    print(f"predicted by blocks: {np.bincount(net.predict(fm.data.Blocks(X)))}")

net = fm.MLP([WIDTH, 64, 3], seed=0)
net.fit(fm.data.Batches(batches), epochs=8, lr=0.005, optimizer="adam")
after_batches = net.score(X_test, y_test)
print(f"{after_batches:.1%} right after batches of a generator")
assert min(on_file, on_new, after_batches) > 0.9

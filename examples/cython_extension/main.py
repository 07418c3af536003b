"""Use the extension, and compare what it computes with the Python interface."""

import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import scoring

import fastmlp as fm

rng = np.random.default_rng(0)
a = rng.normal(size=(200, 300)).astype(np.float32)
b = rng.normal(size=(300, 100)).astype(np.float32)
product = np.empty((200, 100), np.float32)
scoring.matmul(a, b, product)
assert np.array_equal(product, fm.ops.matmul(a, b))
print("a product of matrices: equal to fm.ops.matmul")

X_train, y_train, X_test, y_test = fm.data.load("digits")
trained = fm.MLP([64, 32, 10])
trained.fit(X_train, y_train, epochs=30, lr=0.1)
with tempfile.TemporaryDirectory() as folder:
    path = Path(folder) / "digits.safetensors"
    trained.save(path)
    net = fm.load(path)

X = X_test.astype(np.float32)
expected = net.predict_proba(X)
model = net.c_model()
del net  # the capsule keeps what it needs


def predict(rows: int) -> np.ndarray:
    """Return the outputs, computed in blocks of so many rows."""
    out = np.empty((len(X), 10), np.float32)
    scoring.predict(model, X, out, rows)
    return out


blocks = (1, 7, 256, 1000)
with ThreadPoolExecutor(4) as pool:
    for rows, out in zip(blocks, pool.map(predict, blocks), strict=True):
        assert np.array_equal(out, expected), rows
accuracy = (expected.argmax(axis=1) == y_test).mean()
print(f"{len(X)} predictions in 4 threads at once: equal to predict_proba, {accuracy:.1%} right")

X[5, 3] = np.nan
try:
    predict(7)
except ValueError as error:
    print(f"a row with a NaN: {error}")
else:
    raise SystemExit("a row with a NaN was predicted")

"""Try an installed fastmlp that has NumPy alone beside it: smoke.py."""

import platform
import sys

import numpy as np

import fastmlp as fm

OPTIONAL = ("matplotlib", "onnx", "pooch", "rich", "safetensors", "scipy", "sklearn", "typer")

loaded = [name for name in OPTIONAL if name in sys.modules]
assert not loaded, f"importing fastmlp imported {loaded}"

X_train, y_train, X_test, y_test = fm.data.load("digits")
for isa in fm.available_isas():
    fm.set_isa(isa)
    weights = []
    for threads in (1, 3):
        fm.set_num_threads(threads)
        net = fm.MLP([64, 32, 10])
        net.fit(X_train, y_train, epochs=30, lr=0.1)
        weights.append(net.weights)
    assert all(np.array_equal(a, b) for a, b in zip(*weights, strict=True)), isa
    twin = fm.reference.MLP([64, 32, 10])
    twin.fit(X_train, y_train, epochs=30, lr=0.1)
    accuracy = net.score(X_test, y_test)
    assert accuracy > 0.9, (isa, accuracy)
    assert abs(accuracy - twin.score(X_test, y_test)) < 0.02, isa
    print(f"{isa}: {accuracy:.3f} of the digits right")

message = ""
try:
    net.score(X_test[:, 1:], y_test)
except ValueError as error:
    message = str(error)
assert "X has 63 columns" in message, message

print(f"Python {platform.python_version()}, NumPy {np.__version__}: good")

"""Train a network, write it as an ONNX model, and predict with ONNX Runtime."""

import numpy as np
import onnxruntime

import fastmlp as fm

X_train, y_train, X_test, y_test = fm.data.load("digits")
net = fm.MLP([64, 64, 10], seed=0)
net.fit(X_train, y_train, epochs=30, lr=0.1)
net.to_onnx("digits.onnx")

session = onnxruntime.InferenceSession("digits.onnx", providers=["CPUExecutionProvider"])
(probabilities,) = session.run(["output"], {"input": X_test})
difference = np.abs(probabilities - net.predict_proba(X_test)).max()
assert difference < 1e-6
accuracy = np.mean(probabilities.argmax(axis=1) == y_test)
print(f"{accuracy:.1%} right in ONNX Runtime; largest difference {difference:.0e}")

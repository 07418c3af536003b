"""Train in a process that is killed now and then, and lose nothing but a moment."""

import os
import signal
import sys
import tempfile
from pathlib import Path
from subprocess import Popen

import numpy as np

import fastmlp as fm

EPOCHS = 60


def train(path):
    """Train, from the checkpoint on if there is one: the same call, whenever it is made."""
    X, y, *test = fm.data.load("digits")
    net = fm.MLP([64, 128, 10], seed=0)
    history = net.fit(
        X,
        y,
        epochs=EPOCHS,
        lr=fm.schedules.OneCycle(0.005),
        optimizer="adam",
        validation_data=test,
        checkpoint=fm.Checkpoint(path, seconds=0.1),  # within an epoch, too
        resume=True,
    )
    return net, history


def train_and_kill(path):
    """Train in another process, and kill it once it has written a checkpoint."""
    before = path.stat().st_mtime_ns if path.exists() else 0
    process = Popen([sys.executable, __file__, "--train", path])
    while process.poll() is None:
        if path.exists() and path.stat().st_mtime_ns != before:
            os.kill(process.pid, signal.SIGKILL)
            process.wait()


if "--train" in sys.argv:
    train(sys.argv[-1])
    sys.exit()

with tempfile.TemporaryDirectory() as name:
    killed, whole = Path(name) / "killed.safetensors", Path(name) / "whole.safetensors"
    for _ in range(3):
        train_and_kill(killed)
        net = fm.load(killed)  # a checkpoint is a model, too
        print(f"killed, with {net.epochs_trained} of {EPOCHS} epochs finished")
    net, history = train(killed)
    expected, _ = train(whole)

print(f"finished: {len(history)} epochs, {history.val_accuracy[-1]:.1%} right")
assert all(map(np.array_equal, net.weights + net.biases, expected.weights + expected.biases))
print("The weights are, to the bit, those of a training that nobody killed.")

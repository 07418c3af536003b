"""The command `fastmlp`: in this process through typer's runner, and as a process of its own."""

import csv
import errno
import io
import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("typer")
pytest.importorskip("rich")
pytest.importorskip("matplotlib")
pytest.importorskip("safetensors")

from rich.console import Console
from typer.testing import CliRunner

import fastmlp as fm
import fastmlp.cli.training as cli_training
from fastmlp.checks import HIDDEN_ACTIVATIONS
from fastmlp.cli.app import Activation, LossName, OptimizerName, app
from fastmlp.cli.console import percent
from fastmlp.cli.progress import Reporter
from fastmlp.cli.stop import Stop

PNG = b"\x89PNG\r\n\x1a\n"
RESULTS = {"model.safetensors", "history.json", "curves.png"}
ANSI = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


@pytest.fixture(autouse=True)
def own_folder(tmp_path, monkeypatch):
    """Each test runs in an empty folder, with plain output, and gives the threads back."""
    for name in ("FORCE_COLOR", "TTY_COMPATIBLE", "COLUMNS", "FASTMLP_DATA_DIR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    threads = fm.get_num_threads()
    yield
    fm.set_num_threads(threads)


def invoke(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def told(result):
    """What a command said, without colors, frames and line ends."""
    return " ".join(re.sub(r"[│╭╮╰╯─|+]", " ", ANSI.sub("", result.output)).split())


def start(*arguments, **options):
    return subprocess.Popen(
        [sys.executable, "-m", "fastmlp", *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **options,
    )


def write_table(path, X, y=None):
    with open(path, "w", newline="") as file:
        writer = csv.writer(file)
        for index, row in enumerate(X):
            writer.writerow([*([] if y is None else [y[index]]), *row])
    return path


@pytest.fixture
def blobs(tmp_path):
    """A CSV file of 90 rows: 3 well separated classes, 4 features."""
    rng = np.random.default_rng(0)
    y = np.arange(90) % 3
    X = rng.normal(0, 0.3, (90, 4)) + 2 * np.eye(3, 4)[y]
    return write_table(tmp_path / "blobs.csv", X.round(4).tolist(), y.tolist())


@pytest.fixture
def slope(tmp_path):
    """A CSV file of 60 rows: a linear function of 2 features."""
    X = np.random.default_rng(1).normal(0, 1, (60, 2)).round(4)
    return write_table(tmp_path / "slope.csv", X.tolist(), (X @ [0.5, -1.25] + 0.1).tolist())


@pytest.fixture
def model(tmp_path):
    """A network for the blobs."""
    path = tmp_path / "blobs.safetensors"
    fm.MLP([4, 8, 3], seed=1).save(path)
    return path


def read_history(folder):
    return json.loads((folder / "history.json").read_text())


class TestTrain:
    def test_without_options_it_learns_the_digits(self, tmp_path):
        result = invoke("train")
        assert result.exit_code == 0, result.output
        folder = tmp_path / "fastmlp-run"
        assert {path.name for path in folder.iterdir()} == RESULTS
        record = read_history(folder)
        assert record["network"]["layers"] == [64, 128, 64, 32, 10]
        assert record["network"]["activations"] == ["relu", "relu", "relu", "softmax"]
        assert record["final"]["test"]["accuracy"] > 0.94
        assert record["interrupted"] is False
        assert record["settings"]["epochs"] == len(record["history"]["loss"]) == 100
        assert (folder / "curves.png").read_bytes().startswith(PNG)
        data = fm.data.load("digits")
        loaded = fm.load(folder / "model.safetensors")
        assert loaded.evaluate(data.X_test, data.y_test) == record["final"]["test"]

    def test_it_is_the_fit_of_the_library(self, blobs, tmp_path):
        result = invoke(
            "train", "--data", blobs, "--layers", "7,5", "--activation", "TANH", "--init", "0.1",
            "--dtype", "float64", "--epochs", 3, "--batch-size", 8, "--lr", 0.05, "--seed", 9,
            "--threads", 1, "--out", "a/b",
        )  # fmt: skip
        assert result.exit_code == 0, result.output
        assert fm.get_num_threads() == 1
        data = fm.data.load(blobs)
        net = fm.MLP([4, 7, 5, 3], ["tanh", "tanh", "softmax"], init=0.1, dtype="float64", seed=9)
        history = net.fit(
            data.X_train, data.y_train, epochs=3, batch_size=8, lr=0.05,
            validation_data=(data.X_test, data.y_test),
        )  # fmt: skip
        record = read_history(tmp_path / "a" / "b")
        for name in ("loss", "accuracy", "val_loss", "val_accuracy"):
            assert record["history"][name] == getattr(history, name)
        loaded = fm.load(tmp_path / "a" / "b" / "model.safetensors")
        for ours, theirs in zip(net.weights, loaded.weights, strict=True):
            np.testing.assert_array_equal(ours, theirs)

    @pytest.mark.parametrize(("name", "lr"), [("sgd", 0.01), ("Adam", 0.001), ("rmsprop", 0.05)])
    def test_another_optimizer_and_a_penalty(self, name, lr, blobs, tmp_path):
        options = ["--optimizer", name, "--l2", 0.02, *(["--lr", lr] if lr == 0.05 else [])]
        result = invoke("train", "--data", blobs, "--layers", 5, "--epochs", 3, *options)
        assert result.exit_code == 0, result.output
        data = fm.data.load(blobs)
        net = fm.MLP([4, 5, 3], seed=0)
        history = net.fit(data.X_train, data.y_train, 3, lr=lr, optimizer=name, l2=0.02)
        record = read_history(tmp_path / "fastmlp-run")
        assert record["history"]["loss"] == history.loss
        settings = record["settings"]
        assert (settings["optimizer"], settings["lr"], settings["l2"]) == (name.lower(), lr, 0.02)

    def test_dropout(self, blobs, tmp_path):
        options = ["--dropout", 0.2, "--input-dropout", 0.1]
        result = invoke("train", "--data", blobs, "--layers", 5, "--epochs", 3, *options)
        assert result.exit_code == 0, result.output
        data = fm.data.load(blobs)
        net = fm.MLP([4, 5, 3], seed=0)
        history = net.fit(data.X_train, data.y_train, 3, dropout=0.2, input_dropout=0.1)
        record = read_history(tmp_path / "fastmlp-run")
        assert record["history"]["loss"] == history.loss
        assert (record["settings"]["dropout"], record["settings"]["input_dropout"]) == (0.2, 0.1)

    def test_every_optimizer_can_be_named(self):
        assert tuple(name.value for name in OptimizerName) == fm.optimizers.NAMES

    @pytest.mark.parametrize(
        ("loss", "output"),
        [("focal", "softmax"), ("Dice", "softmax"), ("huber", "identity"), ("poisson", "exp")],
    )
    def test_another_loss(self, blobs, slope, tmp_path, loss, output):
        data = blobs if output == "softmax" else slope
        if output == "exp":
            X = np.random.default_rng(2).normal(0, 1, (60, 2)).round(4)
            data = write_table(tmp_path / "rates.csv", X.tolist(), np.exp(X[:, 0]).tolist())
        result = invoke("train", "--data", data, "--epochs", 2, "--loss", loss, "--out", "out")
        assert result.exit_code == 0, result.output
        assert f"Loss     {loss.lower()}" in result.output
        net = fm.load(tmp_path / "out" / "model.safetensors")
        assert net.loss.name == loss.lower()
        assert net.activations[-1] == output
        assert read_history(tmp_path / "out")["settings"]["loss"] == loss.lower()

    def test_every_activation_of_a_hidden_layer_can_be_named(self):
        assert {name.value for name in Activation} == {*HIDDEN_ACTIVATIONS}

    def test_every_loss_but_those_of_a_sigmoid_can_be_named(self):
        assert {name.value for name in LossName} == {*fm.losses.NAMES} - {"binary_cross_entropy"}

    def test_a_loss_for_another_task(self, blobs):
        result = invoke("train", "--data", blobs, "--loss", "huber")
        assert result.exit_code == 1
        assert "loss huber needs an output of" in told(result)

    def test_a_line_per_epoch_when_no_terminal(self, blobs):
        result = invoke("train", "--data", blobs, "--epochs", 12, "--lr", 0.05)
        found = re.findall(
            r"^epoch +(\d+)/12  loss \d\.\d{4}  train \d+\.\d\d %  test \d+\.\d\d %  "
            r"[\d,]+ samples/s  \d+:\d\d left$",
            result.output,
            flags=re.MULTILINE,
        )
        assert found == [str(epoch) for epoch in range(1, 13)]
        assert "\x1b" not in result.output
        assert "72 training and 18 test rows of 4 features" in result.output

    def test_quiet(self, blobs):
        result = invoke("train", "--data", blobs, "--epochs", 2, "--quiet")
        assert (result.exit_code, result.output) == (0, "")

    def test_no_hidden_layers(self, blobs, tmp_path):
        assert invoke("train", "--data", blobs, "--epochs", 1, "--layers", "").exit_code == 0
        assert read_history(tmp_path / "fastmlp-run")["network"]["layers"] == [4, 3]

    def test_own_test_rows(self, blobs, tmp_path):
        test = write_table(tmp_path / "test.csv", [[2.5, 0.1, 0.2, 0.3]], [0])
        result = invoke("train", "--data", blobs, "--test", test, "--epochs", 1)
        assert result.exit_code == 0, result.output
        assert "90 training and 1 test rows" in result.output

    @pytest.mark.parametrize(
        ("labels", "message"),
        [
            ([0, 1.5], "test.npz: the label of row 1 is 1.5"),
            ([0, 3], "test.npz: one label is 3, those of the training rows are 0 to 2"),
            ([0, -1], "test.npz: classes are numbered from 0, one label is -1"),
        ],
    )
    def test_the_test_labels_do_not_decide(self, labels, message, blobs, tmp_path):
        np.savez(tmp_path / "test.npz", X=np.ones((2, 4)), y=labels)
        result = invoke("train", "--data", blobs, "--test", "test.npz")
        assert result.exit_code == 1
        assert told(result).startswith(f"error: {message}")

    def test_the_test_rows_of_labels_do_not_decide(self, tmp_path):
        np.savez(tmp_path / "train.npz", X=np.ones((4, 2)), y=np.eye(4))
        np.savez(tmp_path / "test.npz", X=np.ones((4, 2)), y=np.ones((4, 4)))
        result = invoke("train", "--data", "train.npz", "--test", "test.npz")
        assert result.exit_code == 1
        assert "test.npz: the training labels are rows of probabilities" in told(result)
        result = invoke("train", "--data", "test.npz", "--test", "train.npz", "--epochs", 1)
        assert result.exit_code == 0, result.output
        network = read_history(tmp_path / "fastmlp-run")["network"]
        assert network["activations"][-1] == "identity"

    def test_a_class_may_be_in_the_rows_held_out_alone(self, tmp_path):
        write_table(tmp_path / "rare.csv", [[0.5, 1.5]] * 10, [0, 1, 0, 1, 2] * 2)
        assert invoke("train", "--data", "rare.csv", "--epochs", 1).exit_code == 0
        assert read_history(tmp_path / "fastmlp-run")["network"]["layers"][-1] == 3

    def test_regression(self, slope, tmp_path):
        result = invoke("train", "--data", slope, "--layers", "8", "--lr", 0.05, "--epochs", 80)
        assert result.exit_code == 0, result.output
        assert "test loss" in result.output
        record = read_history(tmp_path / "fastmlp-run")
        assert record["network"]["activations"] == ["relu", "identity"]
        assert record["final"]["test"]["r2"] > 0.9
        assert (tmp_path / "fastmlp-run" / "curves.png").read_bytes().startswith(PNG)

    @pytest.mark.parametrize(
        ("labels", "layers", "output"),
        [
            (np.eye(3)[np.arange(30) % 3], [4, 2, 3], "softmax"),
            (np.linspace(-1, 1, 60).reshape(30, 2), [4, 2, 2], "identity"),
        ],
        ids=["one-hot", "two targets"],
    )
    def test_labels_with_columns(self, labels, layers, output, tmp_path):
        X = np.random.default_rng(2).normal(size=(30, 4)).astype(np.float32)
        np.savez(tmp_path / "rows.npz", X=X, y=labels)
        result = invoke("train", "--data", "rows.npz", "--layers", 2, "--epochs", 1)
        assert result.exit_code == 0, result.output
        network = read_history(tmp_path / "fastmlp-run")["network"]
        assert (network["layers"], network["activations"][-1]) == (layers, output)

    def test_results_of_an_earlier_run_are_replaced(self, blobs, tmp_path):
        for epochs in (3, 2):
            assert invoke("train", "--data", blobs, "--epochs", epochs).exit_code == 0
        folder = tmp_path / "fastmlp-run"
        assert len(read_history(folder)["history"]["loss"]) == 2
        assert {path.name for path in folder.iterdir()} == RESULTS

    @pytest.mark.parametrize("name", [b"$a^{$.csv", b"\xff.csv", "数.csv".encode()])
    def test_names_of_any_kind(self, name, blobs, tmp_path):
        path = Path(os.fsdecode(name))
        blobs.rename(path)
        out = path.with_suffix("")
        with start("train", "--data", path, "--epochs", 2, "--out", out) as process:
            shown, complaints = process.communicate(timeout=60)
        assert (process.returncode, complaints) == (0, "")
        assert os.fsdecode(name).encode(errors="backslashreplace").decode() in shown
        assert {file.name for file in out.iterdir()} == RESULTS
        with start("evaluate", out / "model.safetensors", "--data", path) as process:
            assert process.communicate(timeout=60)[1] == ""
        assert process.returncode == 0

    def test_tex_in_matplotlibrc(self, blobs, tmp_path):
        (tmp_path / "matplotlibrc").write_text("text.usetex: True\n")
        with start("train", "--data", blobs, "--epochs", 2) as process:
            assert process.communicate(timeout=60)[1] == ""
        assert {path.name for path in (tmp_path / "fastmlp-run").iterdir()} == RESULTS

    def test_a_picture_that_fails_leaves_the_rest(self, blobs, tmp_path, monkeypatch):
        def fail(*_, **__):
            raise RuntimeError("many\nlines")

        assert invoke("train", "--data", blobs, "--epochs", 1).exit_code == 0
        monkeypatch.setattr(fm.plot, "training_curves", fail)
        result = invoke("train", "--data", blobs, "--epochs", 2)
        assert result.exit_code == 1
        complaint = "error: fastmlp-run/curves.png: the picture cannot be drawn: many lines"
        assert result.output.splitlines()[-1] == complaint
        assert "Wrote model.safetensors, history.json to fastmlp-run" in result.output
        folder = tmp_path / "fastmlp-run"
        assert {path.name for path in folder.iterdir()} == RESULTS - {"curves.png"}
        assert len(read_history(folder)["history"]["loss"]) == 2

    def test_a_training_is_resumed(self, blobs, tmp_path, monkeypatch):
        options = ("--data", blobs, "--epochs", 6, "--optimizer", "adam")
        assert invoke("train", *options, "--out", "whole").exit_code == 0
        options = (*options, "--checkpoint", tmp_path / "kept", "--resume")
        monkeypatch.setattr(cli_training, "CHECKPOINT_SECONDS", 1e-9)
        shown = Reporter.on_epoch_end

        def interrupt(self, net, history):
            shown(self, net, history)
            if len(history) == 3:
                signal.raise_signal(signal.SIGTERM)

        with monkeypatch.context() as changed:
            changed.setattr(Reporter, "on_epoch_end", interrupt)
            assert invoke("train", *options).exit_code == 128 + signal.SIGTERM
        assert len(fm.load(tmp_path / "kept").history) == 2
        result = invoke("train", *options)
        assert result.exit_code == 0
        assert "epoch 3/6" in result.output
        assert "epoch 2/6" not in result.output
        folders = [tmp_path / name for name in ("whole", "fastmlp-run")]
        whole, resumed = (read_history(folder)["history"] for folder in folders)
        assert resumed["val_loss"] == whole["val_loss"]
        whole, resumed = ((folder / "model.safetensors").read_bytes() for folder in folders)
        assert resumed == whole
        result = invoke("train", *options, "--lr", 0.5)
        assert result.exit_code == 1
        assert "lr is 'Constant(lr=0.5)' here and 'Constant(lr=0.001)' there" in told(result)

    def test_divergence_is_told_with_advice(self, tmp_path):
        result = invoke("train", "--lr", 1e6, "--epochs", 3)
        assert result.exit_code == 1
        assert "diverged" in told(result)
        assert "lr" in told(result)
        assert not list((tmp_path / "fastmlp-run").iterdir())

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            (["--layers", "12,x"], "'12,x' is not a list of widths"),
            (["--resume"], "there is no --checkpoint to go on from"),
            (["--layers", "12,,3"], "is not a list of widths"),
            (["--layers", "12,0"], "0 is not a width of 1 or more"),
            (["--layers=-3"], "-3 is not a width"),
            (["--activation", "softmax"], "'softmax' is not one of"),
            (["--init", "bogus"], "'bogus' is neither he, glorot, lecun nor a positive number"),
            (["--init", "-1"], "is neither he"),
            (["--init", "nan"], "is neither he"),
            (["--dtype", "float16"], "'float16' is not one of"),
            (["--loss", "hinge"], "'hinge' is not one of"),
            (["--epochs", "0"], "'--epochs'"),
            (["--epochs", "1.5"], "'--epochs'"),
            (["--batch-size", "0"], "'--batch-size'"),
            (["--threads", "0"], "'--threads'"),
            (["--lr", "0"], "0.0 is not a positive number"),
            (["--lr", "-1"], "-1.0 is not a positive number"),
            (["--lr", "nan"], "nan is not a positive number"),
            (["--lr", "inf"], "inf is not a positive number"),
            (["--lr", "fast"], "'--lr'"),
            (["--l2", "-1"], "-1.0 is not a number of at least 0"),
            (["--l2", "nan"], "nan is not a number of at least 0"),
            (["--dropout", "1"], "1.0 is not a number in [0, 1)"),
            (["--input-dropout", "nan"], "nan is not a number in [0, 1)"),
            (["--optimizer", "lbfgs"], "'--optimizer'"),
            (["--seed", "-1"], "-1 is not in [0, 2**64)"),
            (["--seed", str(2**64)], "is not in [0, 2**64)"),
            (["--momentum", "1"], "No such option"),
            (["extra"], "unexpected extra argument"),
            (["--data", ""], "Invalid value for '--data': the name is empty"),
            (["--test", ""], "Invalid value for '--test': the name is empty"),
            (["--out", ""], "Invalid value for '--out': the name is empty"),
        ],
    )
    def test_wrong_options(self, options, message, tmp_path):
        result = invoke("train", *options)
        assert result.exit_code == 2
        assert message in told(result)
        assert not list(tmp_path.iterdir())

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            (["--data", "nowhere.csv"], "nowhere.csv"),
            (["--data", "ragged.csv"], "ragged.csv"),
            (["--data", "words.csv"], "words.csv"),
            (["--data", "empty.csv"], "empty.csv"),
            (["--data", "negative.csv"], "classes are numbered from 0, one label is -1"),
            (["--data", "gap.csv"], "one label is 5000 though there are only 8 training rows"),
            (["--test", "gap.csv"], "--test: the data set digits brings its own test part"),
            (["--data", "few.csv"], "few.csv: every fifth row would be held out"),
            (["--data", "pipe.csv"], "pipe.csv: a device or a pipe"),
            (["--data", "loop"], "'loop'"),
            (["--data", "gap.csv", "--test", "nowhere.csv"], "nowhere.csv"),
            (["--data", "one.csv"], "one.csv: the labels hold one class only"),
            (["--data", "one.npz"], "one.npz: the labels hold one class only"),
            (["--layers", "10000000,10000000"], "not enough memory"),
            (["--layers", str(10**18)], "layers"),
            (["--out", "gap.csv"], "--out: gap.csv is a file, not a folder"),
            (["--out", os.path.join("gap.csv", "x")], "--out: cannot write to"),
            (["--out", "taken"], "history.json is a folder"),
            (["--out", "loop"], "--out: loop is a symbolic link that leads nowhere"),
            (["--out", "looping"], "--out: cannot write to looping/curves.png: Too many levels"),
            (["--out", "piped"], "--out: piped/model.safetensors is a device or a pipe"),
            (["--out", "lost"], "--out: there is no folder"),
        ],
    )
    def test_what_cannot_be_trained_ends_before_the_training(self, options, message, tmp_path):
        (tmp_path / "ragged.csv").write_text("0,1,2\n1,3\n")
        (tmp_path / "words.csv").write_text("0,1.5,2\n1,many,4\n")
        (tmp_path / "empty.csv").write_text("")
        write_table(tmp_path / "negative.csv", [[0.5, 1.5]] * 10, [1, -1] * 5)
        write_table(tmp_path / "gap.csv", [[0.5, 1.5]] * 10, [0, 5000] * 5)
        write_table(tmp_path / "one.csv", [[0.5, 1.5]] * 10, [1] * 10)
        np.savez(tmp_path / "one.npz", X=np.ones((5, 2)), y=[[0, 1]] * 5)
        write_table(tmp_path / "few.csv", [[0.5, 1.5]] * 2, [0, 1])
        os.mkfifo(tmp_path / "pipe.csv")
        (tmp_path / "loop").symlink_to("loop")
        for folder in ("taken", "looping", "piped", "lost"):
            (tmp_path / folder).mkdir()
        (tmp_path / "taken" / "history.json").mkdir()
        (tmp_path / "looping" / "curves.png").symlink_to("curves.png")
        os.mkfifo(tmp_path / "piped" / "model.safetensors")
        (tmp_path / "lost" / "model.safetensors").symlink_to("nowhere/model.safetensors")
        result = invoke("train", *options)
        assert result.exit_code == 1
        assert message in told(result)
        assert told(result).startswith("error: ")
        assert "epoch" not in result.output
        assert "test=" not in result.output
        assert "Traceback" not in result.output

    def test_a_full_disk_names_the_file(self, blobs, monkeypatch):
        def fail(_):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        monkeypatch.setattr(os, "fsync", fail)
        result = invoke("train", "--data", blobs, "--epochs", 1)
        assert result.exit_code == 1
        complaint = "error: fastmlp-run/model.safetensors: No space left on device"
        assert result.output.splitlines()[-1] == complaint

    def test_unwritable_folder(self, blobs, tmp_path):
        folder = tmp_path / "locked"
        folder.mkdir(mode=0o500)
        if os.access(folder, os.W_OK):
            pytest.skip("this user may write anywhere")
        result = invoke("train", "--data", blobs, "--out", folder)
        assert result.exit_code == 1
        assert "--out: cannot write to" in told(result)

    @pytest.mark.parametrize("library", ["matplotlib", "safetensors"])
    def test_missing_library_is_found_before_the_training(self, library, monkeypatch):
        monkeypatch.setattr(
            "fastmlp.cli.training.find_spec", lambda name: None if name == library else object()
        )
        result = invoke("train")
        assert result.exit_code == 1
        assert f"needs {library}: pip install 'fastmlp[cli]'" in told(result)


def wait_for_epochs(process, digits):
    """Read the output of a training until the third epoch; `digits` is the width of its number."""
    while not process.stdout.readline().startswith(f"epoch {3:>{digits}}/"):
        assert process.poll() is None, process.stderr.read()


class TestInterrupt:
    @pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
    def test_a_signal_keeps_the_finished_epochs(self, number, tmp_path):
        with start("train", "--epochs", 1_000_000, "--out", "run", cwd=tmp_path) as process:
            wait_for_epochs(process, 7)
            process.send_signal(number)
            rest, complaints = process.communicate(timeout=20)
        assert process.returncode == 128 + number
        assert "Interrupted after" in rest
        assert complaints == ""
        assert {path.name for path in (tmp_path / "run").iterdir()} == RESULTS
        record = read_history(tmp_path / "run")
        assert record["interrupted"] is True
        finished = len(record["history"]["loss"])
        assert 3 <= finished < 1_000_000
        assert len(record["history"]["val_accuracy"]) == finished
        net = fm.load(tmp_path / "run" / "model.safetensors")
        data = fm.data.load("digits")
        assert net.evaluate(data.X_test, data.y_test) == record["final"]["test"]

    def test_before_the_first_epoch_is_done(self, blobs, tmp_path, monkeypatch):
        assert invoke("train", "--data", blobs, "--epochs", 1).exit_code == 0

        def interrupt(stop, *_):
            stop.number = signal.SIGINT
            raise KeyboardInterrupt

        monkeypatch.setattr(Stop, "on_progress", interrupt)
        result = invoke("train", "--data", blobs, "--epochs", 4)
        assert result.exit_code == 130
        assert "Interrupted after 0 of 4 epochs" in result.output
        folder = tmp_path / "fastmlp-run"
        assert read_history(folder)["history"]["loss"] == []
        # The curves of the earlier run do not belong to this model.
        assert {path.name for path in folder.iterdir()} == RESULTS - {"curves.png"}

    def test_while_saving(self, blobs, tmp_path, monkeypatch):
        write = cli_training.write_text

        def interrupt(*arguments):
            signal.raise_signal(signal.SIGTERM)
            write(*arguments)

        monkeypatch.setattr(cli_training, "write_text", interrupt)
        result = invoke("train", "--data", blobs, "--epochs", 2)
        assert result.exit_code == 128 + signal.SIGTERM
        folder = tmp_path / "fastmlp-run"
        assert {path.name for path in folder.iterdir()} == RESULTS
        assert read_history(folder)["interrupted"] is False
        assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL

    def test_an_ignored_signal_stays_ignored(self, tmp_path):
        code = "trap '' HUP; exec \"$@\""
        command = ["sh", "-c", code, "sh", sys.executable, "-m", "fastmlp", "train"]
        with subprocess.Popen(
            [*command, "--epochs", "30", "--lr", "0.1"], cwd=tmp_path, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, text=True,
        ) as process:  # fmt: skip
            wait_for_epochs(process, 2)
            process.send_signal(signal.SIGHUP)
            process.communicate(timeout=20)
        assert process.returncode == 0
        assert len(read_history(tmp_path / "fastmlp-run")["history"]["loss"]) == 30

    def test_a_reader_that_stops_does_not_end_the_training(self, tmp_path):
        with start("train", "--epochs", 30, "--lr", 0.1, cwd=tmp_path) as process:
            wait_for_epochs(process, 2)
            process.stdout.close()
            assert process.stderr.read() == ""
        assert process.returncode == 0
        assert {path.name for path in (tmp_path / "fastmlp-run").iterdir()} == RESULTS
        assert read_history(tmp_path / "fastmlp-run")["interrupted"] is False

    @pytest.mark.parametrize("redirection", [">&-", "2>&-", ">&- 2>&-", ">/dev/full 2>/dev/full"])
    def test_output_that_cannot_be_written(self, redirection, blobs, tmp_path):
        command = f"{sys.executable} -m fastmlp train --data blobs.csv --epochs 2 {redirection}"
        assert subprocess.run(["sh", "-c", command], cwd=tmp_path, timeout=60).returncode == 0
        assert {path.name for path in (tmp_path / "fastmlp-run").iterdir()} == RESULTS

    def test_a_terminal_that_is_hung_up(self, tmp_path):
        ours, theirs = os.openpty()
        with subprocess.Popen(
            [sys.executable, "-m", "fastmlp", "train", "--epochs", "1000000"], cwd=tmp_path,
            stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True,
        ) as process:  # fmt: skip
            os.close(theirs)
            shown = b""
            while b"1/1000000" not in shown:
                shown += os.read(ours, 4096)
            os.close(ours)
            process.send_signal(signal.SIGHUP)
            assert process.wait(timeout=20) == 128 + signal.SIGHUP
        assert "model.safetensors" in {path.name for path in (tmp_path / "fastmlp-run").iterdir()}

    def test_while_loading(self, monkeypatch):
        def interrupt(*_, **__):
            raise KeyboardInterrupt

        monkeypatch.setattr(fm.data, "load", interrupt)
        result = invoke("train")
        assert result.exit_code == 130
        assert told(result) == "error: interrupted"


class TestReporter:
    def fit(self, width=80, *, terminal=True, regression=False):
        stream = io.StringIO()
        console = Console(
            file=stream,
            width=width,
            force_terminal=terminal,
            highlight=False,
            legacy_windows=False,
            _environ={"TERM": "xterm-256color"},
        )
        data = fm.data.load("digits")
        net = fm.MLP([64, 1 if regression else 10], ["identity" if regression else "softmax"])
        with Reporter(console) as reporter:
            net.fit(
                data.X_train,
                data.y_train,
                epochs=3,
                validation_data=(data.X_test, data.y_test),
                callbacks=[reporter],
            )
        return ANSI.sub("", stream.getvalue())

    def test_terminal_keeps_a_bar_of_each_epoch(self):
        shown = self.fit()
        head = r"epoch +loss +train +test +samples/s +left"
        bars = r"{}/3 +━+ +\d\.\d{{4}} +\d+\.\d\d % +\d+\.\d\d % +[\d,]+ +\d+:\d\d"
        assert re.search(head, shown)
        for epoch in (1, 2, 3):
            assert re.search(bars.format(epoch), shown)

    @pytest.mark.parametrize("width", [60, 80, 200])
    def test_terminal_lines_fit(self, width):
        lines = re.split(r"[\r\n]", self.fit(width))
        assert max(len(line) for line in lines) <= width

    def test_regression_shows_the_test_loss(self):
        assert re.search(r"epoch +loss +test loss +samples/s +left", self.fit(regression=True))


class TestEvaluate:
    def test_table_and_picture(self, tmp_path):
        assert invoke("train", "--epochs", 5, "--lr", 0.1, "--out", "run").exit_code == 0
        result = invoke("evaluate", "run/model.safetensors", "--confusion", "confusion.png")
        assert result.exit_code == 0, result.output
        final = read_history(tmp_path / "run")["final"]["test"]
        assert "the test part of digits: 359 rows" in result.output
        assert f"accuracy  {percent(final['accuracy'])}" in result.output
        assert f"loss      {final['loss']:.4g}" in result.output
        assert re.search(r"class +precision +recall +support", result.output)
        rows = re.findall(r"^ +(\d) .* (\d+) *$", result.output, flags=re.MULTILINE)
        assert [int(label) for label, _ in rows] == list(range(10))
        assert sum(int(support) for _, support in rows) == 359
        assert (tmp_path / "confusion.png").read_bytes().startswith(PNG)

    def test_a_file_is_measured_whole(self, blobs, model):
        result = invoke("evaluate", model, "--data", blobs)
        assert result.exit_code == 0, result.output
        assert "all rows of" in result.output
        assert "90 rows" in result.output

    def test_a_file_with_a_test_part(self, model, tmp_path):
        rng = np.random.default_rng(0)
        X = rng.normal(size=(7, 4))
        y = np.arange(7) % 3
        np.savez(tmp_path / "parts.npz", x_train=X, y_train=y, x_test=X[:5], y_test=y[:5])
        result = invoke("evaluate", model, "--data", "parts.npz")
        assert "the test part of parts.npz: 5 rows" in result.output

    def test_class_never_predicted_has_no_precision(self, tmp_path):
        net = fm.MLP([2, 3])
        net.biases[0][:] = [100, 0, 0]
        net.save(tmp_path / "constant.safetensors")
        write_table(tmp_path / "rows.csv", [[0.5, 0.25]] * 4, [0, 0, 0, 1])
        result = invoke("evaluate", "constant.safetensors", "--data", "rows.csv")
        assert re.search(r"^ +0 +75.00 % +100.00 % +3 *$", result.output, flags=re.MULTILINE)
        assert re.search(r"^ +1 +- +0.00 % +1 *$", result.output, flags=re.MULTILINE)
        assert re.search(r"^ +2 +- +- +0 *$", result.output, flags=re.MULTILINE)

    def test_sigmoid_output_has_two_classes(self, tmp_path):
        fm.MLP([4, 1], seed=3).save(tmp_path / "binary.safetensors")
        X = np.random.default_rng(0).normal(size=(20, 4))
        np.savez(tmp_path / "rows.npz", X=X, y=np.arange(20) % 2)
        result = invoke(
            "evaluate", "binary.safetensors", "--data", "rows.npz", "--confusion", "c.png"
        )
        assert result.exit_code == 0, result.output
        assert len(re.findall(r"^ +[01] .* 10 *$", result.output, flags=re.MULTILINE)) == 2

    def test_regression(self, slope, tmp_path):
        fm.MLP([2, 1], ["identity"]).save(tmp_path / "line.safetensors")
        result = invoke("evaluate", "line.safetensors", "--data", slope)
        assert result.exit_code == 0, result.output
        assert re.search(r"^R2 +-?\d", result.output, flags=re.MULTILINE)
        assert "precision" not in result.output
        result = invoke("evaluate", "line.safetensors", "--data", slope, "--confusion", "c.png")
        assert result.exit_code == 1
        assert "does not choose between classes" in told(result)

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (["nowhere.safetensors"], "nowhere.safetensors"),
            (["broken.safetensors"], "broken.safetensors"),
            (["blobs.safetensors"], "digits does not fit blobs.safetensors: X has 64 columns"),
            (["blobs.safetensors", "--data", "labels.csv"], "y[1] is 7"),
            (
                ["blobs.safetensors", "--data", "wide.csv"],
                "wide.csv does not fit blobs.safetensors: X has 5 columns, the network takes 4",
            ),
            (
                ["blobs.safetensors", "--data", "real.csv"],
                "real.csv does not fit blobs.safetensors: y[1] is 0.5",
            ),
            (["blobs.safetensors", "--data", "nowhere.csv"], "nowhere.csv"),
            (["blobs.safetensors", "--data", "broken.csv"], "broken.csv"),
            (["blobs.safetensors", "--data", "/dev/null"], "/dev/null: a device or a pipe"),
            (["blobs.safetensors", "--confusion", "."], "is a folder"),
            (["blobs.safetensors", "--confusion", "loop"], "--confusion: cannot write to loop"),
            (["blobs.safetensors", "--confusion", "/dev/null"], "is a device or a pipe"),
            (["blobs.safetensors", "--data", "blobs.csv", "--confusion", "no/c.png"], "no"),
        ],
    )
    def test_errors(self, arguments, message, blobs, model, tmp_path):
        (tmp_path / "broken.safetensors").write_bytes(b"\x00" * 100)
        (tmp_path / "broken.csv").write_text("0,1,2,3,4\n1,2,3\n")
        write_table(tmp_path / "labels.csv", [[0.5, 1, 2, 3]] * 2, [0, 7])
        write_table(tmp_path / "wide.csv", [[0.5, 1, 2, 3, 4]] * 2, [0, 1])
        write_table(tmp_path / "real.csv", [[0.5, 1, 2, 3]] * 2, [1, 0.5])
        (tmp_path / "loop").symlink_to("loop")
        result = invoke("evaluate", *arguments)
        assert result.exit_code == 1
        assert message in told(result)
        assert "error: " in told(result)
        assert "Traceback" not in result.output


class TestPredict:
    def rows(self, result):
        assert result.exit_code == 0, result.output
        return list(csv.DictReader(io.StringIO(result.output)))

    @pytest.mark.parametrize("labeled", [True, False])
    def test_label_and_probability(self, labeled, model, tmp_path):
        X = np.random.default_rng(5).normal(size=(5000, 4)).round(3)
        path = write_table(tmp_path / "rows.csv", X.tolist(), [0] * 5000 if labeled else None)
        rows = self.rows(invoke("predict", model, path))
        assert list(rows[0]) == ["row", "label", "probability"]
        assert [int(row["row"]) for row in rows] == list(range(5000))
        net = fm.load(model)
        features = X.astype(np.float32)
        assert [int(row["label"]) for row in rows] == net.predict(features).tolist()
        np.testing.assert_allclose(
            [float(row["probability"]) for row in rows],
            net.predict_proba(features).max(axis=1),
            atol=1e-5,
        )

    def test_scale_is_that_of_the_training(self, tmp_path):
        X = np.array([[0, 1], [2, 255]] * 5)
        write_table(tmp_path / "whole.csv", X.tolist())
        write_table(tmp_path / "real.csv", (X + 0.5).tolist())
        write_table(tmp_path / "shares.csv", (X / 255).tolist())
        net = fm.MLP([2, 3, 2], seed=1)
        y = np.arange(10) % 2
        net.fit(X.astype(np.float32), y, epochs=1, lr=1e-6)
        net.save(tmp_path / "real.safetensors")
        rows = self.rows(invoke("predict", "real.safetensors", "whole.csv"))
        expected = net.predict_proba(X.astype(np.float32)).max(axis=1)
        np.testing.assert_allclose([float(row["probability"]) for row in rows], expected, atol=1e-5)

        net.fit(X.astype(np.uint8), y, epochs=1, lr=1e-6)
        net.save(tmp_path / "whole.safetensors")
        for file in ("whole.csv", "shares.csv"):
            rows = self.rows(invoke("predict", "whole.safetensors", file))
            expected = net.predict_proba(X.astype(np.uint8)).max(axis=1)
            np.testing.assert_allclose(
                [float(row["probability"]) for row in rows], expected, atol=1e-5
            )
        result = invoke("predict", "whole.safetensors", "real.csv")
        assert result.exit_code == 1
        assert "trained on whole numbers 0 to 255" in told(result)
        assert "the largest is 255.5" in told(result)

    def test_sigmoid_output(self, tmp_path):
        net = fm.MLP([2, 1], seed=3)
        net.save(tmp_path / "binary.safetensors")
        X = np.random.default_rng(0).normal(size=(20, 2)).astype(np.float32)
        np.savez(tmp_path / "rows.npz", X=X)
        rows = self.rows(invoke("predict", "binary.safetensors", "rows.npz"))
        labels = net.predict(X)
        p = net.predict_proba(X)[:, 0]
        assert [int(row["label"]) for row in rows] == labels.tolist()
        assert set(labels.tolist()) == {0, 1}
        np.testing.assert_allclose(
            [float(row["probability"]) for row in rows], np.where(labels, p, 1 - p), atol=1e-6
        )

    @pytest.mark.parametrize(
        ("output", "width", "columns"),
        [
            ("identity", 1, ["value"]),
            ("identity", 2, ["value_0", "value_1"]),
            ("sigmoid", 2, ["probability_0", "probability_1"]),
        ],
    )
    def test_networks_without_classes(self, output, width, columns, tmp_path):
        net = fm.MLP([2, width], [output], dtype="float64")
        net.save(tmp_path / "net.safetensors")
        X = np.random.default_rng(0).normal(size=(9, 2))
        np.savez(tmp_path / "rows.npz", X=X)
        rows = self.rows(invoke("predict", "net.safetensors", "rows.npz"))
        assert list(rows[0]) == ["row", *columns]
        expected = net.predict(X) if output == "identity" else net.predict_proba(X)
        np.testing.assert_allclose(
            [[float(row[column]) for column in columns] for row in rows],
            expected.reshape(9, width),
            atol=1e-6,
        )

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (["nowhere.safetensors", "rows.csv"], "nowhere.safetensors"),
            (["blobs.safetensors", "nowhere.csv"], "nowhere.csv"),
            (["blobs.safetensors", "rows.csv"], "rows.csv"),
        ],
    )
    def test_errors_leave_the_output_empty(self, arguments, message, model, tmp_path):
        write_table(tmp_path / "rows.csv", [[1, 2]])
        with start("predict", *arguments) as process:
            out, complaints = process.communicate(timeout=20)
        assert process.returncode == 1
        assert out == ""
        assert message in " ".join(complaints.split())
        assert "Traceback" not in complaints

    @pytest.mark.parametrize(
        ("redirection", "message"),
        [
            (">/dev/full", "error: standard output: No space left on device\n"),
            (">&-", "error: standard output is closed\n"),
        ],
    )
    def test_output_that_cannot_be_written(self, redirection, message, model, tmp_path):
        write_table(tmp_path / "rows.csv", [[1, 2, 3, 4]])
        command = f"{sys.executable} -m fastmlp predict blobs.safetensors rows.csv {redirection}"
        done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, timeout=60)
        assert (done.returncode, done.stderr) == (1, message)

    def test_a_reader_that_stops_is_no_error(self, model, tmp_path):
        np.savez(tmp_path / "rows.npz", X=np.zeros((50_000, 4), np.float32))
        with start("predict", model, "rows.npz") as process:
            assert process.stdout.readline() == "row,label,probability\n"
            process.stdout.close()
            assert process.stderr.read() == ""
        assert process.returncode == 1


class TestInfoAndHelp:
    def test_info(self):
        result = invoke("info")
        assert result.exit_code == 0
        for name, value in fm.config().items():
            assert name.replace("_", " ") in result.output
            if isinstance(value, str | int):
                assert str(value) in told(result)

    def test_version(self):
        result = invoke("--version")
        assert (result.exit_code, result.output) == (0, f"fastmlp {fm.__version__}\n")

    def test_help_lists_the_commands(self):
        shown = told(invoke("--help"))
        assert all(name in shown for name in ("train", "evaluate", "predict", "info"))

    @pytest.mark.parametrize("command", ["train", "evaluate", "predict", "info"])
    def test_help_of_each_command(self, command):
        result = invoke(command, "-h")
        assert result.exit_code == 0
        assert f"Usage: fastmlp {command}" in told(result).replace("root", "fastmlp")

    def test_python_m(self):
        with start("--version") as process:
            assert process.communicate(timeout=20) == (f"fastmlp {fm.__version__}\n", "")
        assert process.returncode == 0

    def test_help_loads_nothing_heavy(self):
        code = (
            "import sys; sys.argv = ['fastmlp', '--help']\n"
            "import atexit; atexit.register(lambda: print(sorted("
            "{'matplotlib', 'safetensors', 'fastmlp.metrics'} & sys.modules.keys())))\n"
            "from fastmlp.cli import main; main()"
        )
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
        assert done.stdout.endswith("[]\n"), done.stdout + done.stderr

    @pytest.mark.parametrize("library", ["typer", "rich"])
    def test_missing_library_names_the_extra(self, library, monkeypatch, capsys):
        from fastmlp.cli import main

        for name in list(sys.modules):
            if name.startswith(("fastmlp.cli.", f"{library}.")):
                monkeypatch.delitem(sys.modules, name)
        monkeypatch.setitem(sys.modules, library, None)
        assert main() == 1
        assert capsys.readouterr() == (
            "",
            f"fastmlp: the command line needs {library}: pip install 'fastmlp[cli]'\n",
        )

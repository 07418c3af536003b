"""The bench without its peers: statistics, workloads, the suite's JSON, comparing two of them."""

import json
import math
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[1]

if not (ROOT / "bench").is_dir():
    pytest.skip("the source tree is not beside these tests", allow_module_level=True)
sys.path.insert(0, str(ROOT))

from bench import __main__ as command  # noqa: E402
from bench import compare, contest, data, peers, report, statistics, workloads  # noqa: E402
from bench.peers import fastmlp_, numpy_  # noqa: E402

TINY = workloads.Training("train tiny", True, (784, 16, 8, 10), 250, "mnist", 32, lr=0.05)


@pytest.fixture
def made(tmp_path, monkeypatch):
    """Return the data of the suite with noise in place of MNIST."""
    made = data.Data(tmp_path)
    monkeypatch.setattr(made, "mnist", lambda: data.mnist_substitute(10_000))
    return made


# Statistics ---------------------------------------------------------------------------------


def test_noise_is_the_relative_standard_error_of_a_normal_samples_median():
    samples = np.random.default_rng(0).normal(10.0, 1.0, (2000, 25))
    estimated = np.median([statistics.noise(list(row)) for row in samples])
    actual = np.median(samples, axis=1).std() / 10
    # The deviation of 25 values is known to about 1 / sqrt(50), and its median is biased by less.
    assert estimated == pytest.approx(actual, rel=0.15)


def test_noise_of_equal_values_is_zero_and_the_margin_has_a_floor():
    assert statistics.noise([2.0, 2.0, 2.0]) == 0
    assert statistics.margin(0, 0) == statistics.NOISE_FLOOR
    assert statistics.margin(0.3, 0.4) == pytest.approx(1.0)


def test_geometric_mean():
    assert statistics.geometric_mean([0.5, 2.0]) == pytest.approx(1)
    assert statistics.geometric_mean([1.0, 10.0, 100.0]) == pytest.approx(10)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (12.34, "12.3 s"),
        (1.0, "1.00 s"),
        (0.9999, "1.00 s"),
        (0.1234, "123 ms"),
        (0.00999, "9.99 ms"),
        (9.996e-6, "10.0 µs"),
        (4.2e-8, "0.04 µs"),
    ],
)
def test_times_have_three_digits(seconds, text):
    assert report.time_text(seconds) == text


# Workloads ----------------------------------------------------------------------------------


def test_the_mnist_epoch_costs_what_its_products_cost():
    epoch = next(workloads.trainings(quick=False))
    assert epoch.layers == (784, 128, 64, 32, 10)
    # Forward and dW of all layers, dX of all but the first.
    products = 2 * 110_912 + (110_912 - 784 * 128)
    assert epoch.flops == 2 * 60_000 * products
    assert epoch.bytes == 60_000 * 784


@pytest.mark.parametrize("quick", [False, True])
def test_names_of_workloads_differ(quick):
    names = [workload.name for workload in workloads.suite(quick)]
    assert len(names) == len(set(names))


def test_all_transpositions_of_a_product_of_a_layer():
    names = {w.name for w in workloads.products(quick=True) if w.k == 784 or 784 in (w.m, w.n)}
    assert names == {
        "layer A B 32x784x128",
        "layer A Bt 32x128x784",
        "layer At B 784x32x128",
        "layer At Bt 32x784x128",
    }


def test_the_substitute_has_the_density_of_mnist():
    pixels, labels = data.mnist_substitute(1000)
    # Five standard deviations of a binomial fraction.
    spread = 5 * math.sqrt(0.191 * 0.809 / pixels.size)
    assert abs(np.count_nonzero(pixels) / pixels.size - data.MNIST_DENSITY) < spread
    assert pixels.dtype == np.uint8
    assert labels.min() >= 0
    assert labels.max() <= 9


# Contestants --------------------------------------------------------------------------------


def test_the_numpy_loop_trains_as_fastmlp_does(made):
    task = made.task(TINY, 1).loaded()
    trainers = [fastmlp_.Trainer(task), numpy_.Trainer(task)]
    results = []
    for trainer in trainers:
        trainer.reset()
        trainer.epoch()
        trainer.reset()
        trainer.epoch()
        weights, biases = trainer.parameters()
        results.append([np.array(values) for values in (*weights, *biases)])
    apart = contest.difference(results[1], results[0], task)
    # 8 updates, each with rounding errors of some 100 float32 eps.
    assert 0 < apart < 8 * 100 * np.finfo(np.float32).eps


def test_other_batches_are_told_from_rounding(made):
    task = made.task(TINY, 1).loaded()
    trainer = numpy_.Trainer(task)
    trainer.epoch()
    one = [*trainer.weights, *trainer.biases]
    other = numpy_.Trainer(task)
    other.order = task.order[::-1]
    other.epoch()
    apart = contest.difference([*other.weights, *other.biases], one, task)
    assert apart > contest.TOLERANCES["training"]


def test_the_numpy_prediction_and_product_agree_with_fastmlps(made):
    task = made.task(workloads.Prediction("p", True, (784, 16, 10), 50, "mnist"), 1).loaded()
    results = [module.Predictor(task).predict() for module in (fastmlp_, numpy_)]
    assert contest.difference(*results, task) <= contest.TOLERANCES["prediction"]
    for transposed in ((False, False), (False, True), (True, False), (True, True)):
        task = made.task(workloads.Product("m", True, 7, 20, 9, *transposed), 1)
        results = [module.Product(task).multiply() for module in (fastmlp_, numpy_)]
        assert results[0].shape == (7, 9)
        assert contest.difference(*results, task) <= contest.TOLERANCES["product"]


def test_a_contestant_that_cannot_is_named():
    missing = peers.Peer("Missing", "not_a_module", "numpy", ("training",))
    contestant = contest.Contestant(missing, 1)
    try:
        with pytest.raises(contest.ContestantError, match="not_a_module"):
            contestant.answer()
    finally:
        contestant.close()


def test_what_a_contestant_has_started_ends_with_it():
    contestant = contest.Contestant(peers.Peer("NumPy", "numpy_", "numpy", ("training",)), 1)
    contestant.answer()
    assert os.getsid(contestant.process.pid) == contestant.process.pid
    contestant.close()
    # One that has a child, and the child a pipe.
    contestant.process = subprocess.Popen(
        ["sh", "-c", "sleep 600 & echo begun; wait"],
        stdout=subprocess.PIPE,
        start_new_session=True,
    )
    with contestant.process.stdout as output:
        assert output.readline() == b"begun\n"
        contestant.close()
        assert output.read() == b""


def test_an_instruction_set_to_hold_to_is_told_to_every_library():
    held = contest.environment(1, "avx2")
    assert held["FASTMLP_ISA"] == "avx2"
    assert held["XLA_FLAGS"] == "--xla_cpu_multi_thread_eigen=false --xla_cpu_max_isa=AVX2"
    assert contest.environment(2)["XLA_FLAGS"] == "--xla_cpu_multi_thread_eigen=true"


# Commands -----------------------------------------------------------------------------------


@pytest.fixture
def tiny_suite(monkeypatch, made):
    """Have the command run a tiny training, prediction and product of fastmlp and NumPy."""
    chosen = [
        TINY,
        workloads.Prediction("predict tiny", True, TINY.layers, 20, "mnist"),
        workloads.Product("square A B 32x32x32", True, 32, 32, 32, False, False),
    ]
    monkeypatch.setattr(command, "suite", lambda quick: chosen)
    monkeypatch.setattr(command, "Data", lambda folder: made)
    monkeypatch.setattr(command, "LEAST_SECONDS", dict.fromkeys(peers.CLASSES, 0.001))
    monkeypatch.setattr(command.machine, "PEAK_SIZES", (64,))
    monkeypatch.setattr(command.machine, "BANDWIDTH_BYTES", 2**20)
    monkeypatch.setattr(command.machine, "compiled_peak", lambda threads, seconds, isa: None)


def test_the_suite_writes_all_that_compare_reads(tiny_suite, tmp_path, capsys):
    out = tmp_path / "new.json"
    only = "training,prediction,product"
    options = ["--threads", "1", "--rounds", "3", "--peers", "numpy", "--only", only]
    assert command.main([*options, "--out", str(out)]) == 0
    printed = capsys.readouterr().out
    assert "absent: JAX, not asked for" in printed
    assert "train tiny" in printed

    document = compare.read(out)
    assert document["absent"]["PyTorch"] == "not asked for"
    assert document["machine"]["fastmlp"]["isa"]
    assert document["machine"]["versions"]["numpy"] == np.__version__
    limit = document["limits"]["1"]
    assert limit["flops"] > 0
    assert limit["read"] > 0
    assert [result["kind"] for result in document["results"]] == [
        "training",
        "prediction",
        "product",
    ]
    for result in document["results"]:
        assert list(result["contestants"]) == ["fastmlp", "NumPy"]
        for values in result["contestants"].values():
            assert len(values["seconds"]) == 3
            assert values["median"] == sorted(values["seconds"])[1]
            assert values["difference"] <= contest.TOLERANCES[result["kind"]]
            rate = result["flops"] / values["median"]
            assert values["share_of_peak"] == pytest.approx(rate / limit["flops"])
        own, other = result["contestants"].values()
        assert other["ratio"] == pytest.approx(other["median"] / own["median"])

    slower = json.loads(json.dumps(document))
    slower["results"][0]["contestants"]["fastmlp"]["median"] *= 100
    later = tmp_path / "slower.json"
    later.write_text(json.dumps(slower), encoding="utf-8")
    assert compare.main([str(out), str(out)]) == 0
    assert "3 the same" in capsys.readouterr().out
    assert compare.main([str(out), str(later)]) == 1
    assert "0 faster, 1 slower, 2 the same" in capsys.readouterr().out
    assert compare.main([str(later), str(out)]) == 0
    assert "1 faster" in capsys.readouterr().out

    figure = pytest.importorskip("bench.figure")
    pytest.importorskip("matplotlib")
    assert figure.main([str(out), str(tmp_path / "picture.png")]) == 0
    assert len(figure.MARKERS) >= len(peers.PEERS)
    assert (tmp_path / "picture.png").stat().st_size > 1000


def test_compare_refuses_other_files(tmp_path, capsys):
    other = tmp_path / "other.json"
    for text in ("{}", "[]", "no"):
        other.write_text(text, encoding="utf-8")
        with pytest.raises(SystemExit):
            compare.main([str(other), str(other)])
        assert str(other) in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments",
    [["--threads", "0"], ["--threads", "a"], ["--rounds", "0"], ["--out", "/no/f.json"]],
)
def test_bad_options_are_refused_before_anything_runs(arguments, capsys):
    with pytest.raises(SystemExit):
        command.parse(arguments)
    assert "error" in capsys.readouterr().err


def test_absent_peers_are_named(monkeypatch):
    monkeypatch.setattr(peers.Peer, "is_installed", lambda peer: peer.requires == "fastmlp")
    chosen, absent = command.chosen_peers(command.parse([]))
    assert {peer.name for peer in chosen} == {"fastmlp", "fastmlp, made dense"}
    assert absent["JAX"] == "not installed: pip install jax"
    assert len(chosen) + len(absent) == len(peers.PEERS)

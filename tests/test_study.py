"""The study of losses: its data, its runs, what it keeps, and the command."""

import csv
import errno
import io
import json
import os
import re
import signal
import subprocess
import sys

import numpy as np
import pytest

pytest.importorskip("sklearn")
pytest.importorskip("matplotlib")

import fastmlp as fm
from fastmlp.machine import one_thread
from fastmlp.study import Settings, SettingsError
from fastmlp.study.results import MEASURES, measure
from fastmlp.study.settings import Job
from fastmlp.study.store import Store
from fastmlp.study.task import make_task, thinned_counts
from fastmlp.study.task import test_weights as weights_of
from fastmlp.study.trial import (
    RECALL_GRID,
    at_threshold,
    best_threshold,
    curve_on_grid,
    run_trial,
)

SMALL = Settings(seeds=3, epochs=2, lrs=(0.1, 0.3), gammas=(2,))
FILES = {"study.json", "runs.jsonl", "runs.csv", "summary.csv", "results.json"}
FIGURES = {f"losses-{name}.png" for name in ("focal", "scores", "curves", "gamma")}


@pytest.fixture(scope="module")
def digits():
    return fm.data.load("digits")


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """A small study's results and folder."""
    folder = tmp_path_factory.mktemp("study")
    return fm.study.run(SMALL, folder, threads=2), folder


def timeless(results):
    return [{k: v for k, v in record.items() if k != "seconds"} for record in results.records]


# Data -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("share", [0.1, 0.05, 0.01])
def test_thinning_leaves_the_share(digits, share):
    task = make_task(digits, 8, share, seed=0)
    y = np.concatenate([task.y_train, task.y_valid])
    # As near as whole rows allow.
    assert y.mean() == pytest.approx(share, abs=0.5 / len(y))
    assert task.share == pytest.approx(y.mean())
    for part in (task.y_train, task.y_valid):
        assert set(part) == {0, 1}
        assert part.mean() == pytest.approx(share, abs=1 / len(part))
    assert len(task.y_valid) == pytest.approx(0.2 * len(y), abs=1)


def test_validation_rows_are_not_trained_on(digits):
    task = make_task(digits, 8, 0.1, seed=0)
    rows = {row.tobytes() for row in task.X_train}
    shared = sum(row.tobytes() in rows for row in task.X_valid)
    copies = len(task.X_train) - len(rows)
    assert shared <= copies + 1
    assert len(task.X_test) == len(digits.X_test)


def test_a_digit_of_less_than_the_share_thins_the_others():
    assert thinned_counts(50, 950, 0.1) == (50, 450)
    assert thinned_counts(150, 900, 0.1) == (100, 900)
    assert thinned_counts(100, 900, 0.1) == (100, 900)


def test_the_seed_draws_the_rows(digits):
    one, same, other = (make_task(digits, 8, 0.01, seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(one.X_train, same.X_train)
    assert not np.array_equal(one.X_train[one.y_train > 0], other.X_train[other.y_train > 0])


def test_rarer_positives_are_among_the_others(digits):
    many, few = (make_task(digits, 8, share, seed=3) for share in (0.1, 0.01))

    def positives(task):
        parts = ((task.X_train, task.y_train), (task.X_valid, task.y_valid))
        return {row.tobytes() for X, y in parts for row in X[y > 0]}

    assert positives(few) < positives(many)


@pytest.mark.parametrize("share", [0.1, 0.001])
def test_weights_make_the_share(share):
    y = np.array([1, 1, 0, 0, 0, 1, 0])
    weights = weights_of(y, share)
    assert weights[y > 0].sum() / weights.sum() == pytest.approx(share)
    assert set(weights[y == 0]) == {1}
    # Recall does not feel them.
    found = np.array([1, 0, 1, 0, 0, 1, 0])
    recall = fm.metrics.recall(y, found, sample_weight=weights)
    assert recall == pytest.approx(fm.metrics.recall(y, found))


def test_too_few_positives(digits):
    with pytest.raises(SettingsError, match=r"shares: 0.001 leaves 1 positives beside 1,\d+ other"):
        make_task(digits, 8, 0.001, seed=0)


def test_a_digit_that_is_not_there(digits):
    rows = digits.y_train != 8
    without = digits._replace(X_train=digits.X_train[rows], y_train=digits.y_train[rows])
    with pytest.raises(SettingsError, match="digit: the data hold no 8"):
        make_task(without, 8, 0.1, seed=0)


# Settings ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"data": "iris"}, "data: 'iris' is none of digits, mnist"),
        ({"digit": 10}, "digit: 10 is not a digit"),
        ({"shares": (0.1, 0)}, "shares: 0 is not a positive number of at most 0.5"),
        ({"shares": (0.6,)}, "shares: 0.6 is not"),
        ({"shares": ()}, "shares: one or more different numbers"),
        ({"shares": 0.1}, "shares: a sequence of numbers is needed"),
        ({"lrs": ["x"]}, "lrs: a sequence of numbers is needed"),
        ({"gammas": (-1,)}, "gammas: -1 is not a positive number"),
        ({"gammas": (float("nan"),)}, "gammas: nan is not"),
        ({"gammas": (2, 2.0)}, "gammas: one or more different"),
        ({"seeds": 0}, "seeds: 0 is not a number of 1 or more"),
        ({"epochs": 0}, "epochs: 0 is not"),
        ({"batch_size": 1.5}, "batch_size: 1.5 is not"),
        ({"hidden": (0,)}, "hidden: widths"),
        ({"hidden": 5}, "hidden: a sequence of widths is needed"),
        ({"hidden": np.array([4.0, 5.0])}, "hidden: widths"),
        ({"lrs": (0.0,)}, "lrs: 0 is not a positive number"),
        ({"lrs": (10**400,)}, "lrs: a sequence of numbers is needed"),
        ({"gammas": (1e39,)}, "gammas: 1e+39 is not a positive number of at most 3.40282e+38"),
    ],
)
def test_settings_that_cannot_be_used(wrong, message):
    with pytest.raises(SettingsError, match=re.escape(message)) as caught:
        Settings(**wrong)
    assert isinstance(caught.value, ValueError)
    assert caught.value.name == next(iter(wrong))


def test_settings_from_numpy():
    given = Settings(
        digit=np.uint8(3), seeds=np.int64(2), hidden=np.array([4, 5]), lrs=np.array([0.1])
    )
    assert given == Settings(digit=3, seeds=2, hidden=(4, 5), lrs=(0.1,))
    assert json.loads(json.dumps(given.to_dict())) == given.to_dict()


def test_the_order_of_lists_is_no_setting():
    assert Settings(shares=(0.01, 0.1), gammas=(5, 1)) == Settings(
        shares=[0.1, 0.01], gammas=[1, 5]
    )


def test_it_is_imported_when_asked_for(run_python):
    program = """if True:
        import sys
        import fastmlp as fm
        assert "fastmlp.study" not in sys.modules
        fm.study.Settings()
        assert not {"sklearn", "matplotlib"} & sys.modules.keys()
    """
    run_python(program)


def test_mnist_has_settings_of_its_own():
    settings = Settings("mnist")
    assert settings.shares == (0.1, 0.01, 0.001)
    assert settings.hidden == (128, 64, 32)


# One run -----------------------------------------------------------------------------------------


def test_the_best_threshold_by_hand():
    y = np.array([0, 0, 1, 0, 1, 1])
    scores = np.array([0.1, 0.2, 0.3, 0.4, 0.7, 0.9])
    # From 0.3 up 3 of 3 are found in 4: F1 6/7; from 0.7 up 2 of 3 in 2: 4/5.
    assert best_threshold(y, scores) == pytest.approx(0.25)
    # From 0.2 up F1 is 4/5, from 0.7 up it is 1.
    assert best_threshold(np.array([0, 0, 1, 1]), scores[[0, 3, 4, 5]]) == pytest.approx(0.55)
    assert best_threshold(np.array([0, 1]), np.array([1.0, 1.0])) == 1.0


def test_a_threshold_between_neighbours_in_float32(digits):
    low, high = np.float32(1 - 2.0**-23), np.float32(1 - 2.0**-24)
    task = make_task(digits, 8, 0.1, seed=0)
    scores = np.where(task.y_test > 0, high, low)
    threshold = best_threshold(task.y_test, scores)
    assert float(low) < threshold < float(high)
    assert at_threshold(task, scores, threshold)["precision"] == 1


def test_the_best_threshold_is_the_best():
    rng = np.random.default_rng(0)
    y = rng.integers(0, 2, 60)
    scores = np.round(rng.normal(y, 1), 1)
    best = fm.metrics.f1(y, scores >= best_threshold(y, scores))
    assert best == max(fm.metrics.f1(y, scores >= t) for t in np.arange(-4, 4, 0.05))


def test_the_curve_has_the_area_of_the_average_precision():
    rng = np.random.default_rng(0)
    y = rng.integers(0, 2, 400)
    scores = rng.normal(y, 1)
    weights = weights_of(y, 0.1)
    curve = np.array(curve_on_grid(y, scores, weights))
    area = fm.metrics.average_precision(y, scores, sample_weight=weights)
    # Precision varies by less than 1 over a step of the grid, on average far less.
    assert curve[1:].mean() == pytest.approx(area, abs=0.01)
    assert curve[-1] >= 0.1 - 1e-9
    assert len(curve) == len(RECALL_GRID)


def trial(task, **changes):
    options = {"hidden": [8], "lr": 0.2, "epochs": 3, "batch_size": 32, "seed": 0}
    return run_trial(task, fm.losses.BinaryCrossEntropy(), **options | changes)


def test_a_run_measures_what_predictions_tell(digits):
    task = make_task(digits, 8, 0.1, seed=0)
    record = trial(task, epochs=20)
    net = fm.MLP([64, 8, 1], seed=0)
    net.fit(task.X_train, task.y_train, epochs=20, batch_size=32, lr=0.2)
    scores = net.predict_proba(task.X_test)[:, 0]
    weighted = {"sample_weight": task.test_weight}
    found = net.predict(task.X_test)
    assert record["at_half"]["precision"] == pytest.approx(
        fm.metrics.precision(task.y_test, found, **weighted)
    )
    assert record["at_half"]["recall"] == pytest.approx(fm.metrics.recall(task.y_test, found))
    assert record["average_precision"] == pytest.approx(
        fm.metrics.average_precision(task.y_test, scores, **weighted)
    )
    assert record["p_positive"] > record["p_negative"]


def test_the_test_rows_choose_nothing(digits):
    task = make_task(digits, 8, 0.1, seed=0)
    record = trial(task)
    flipped = trial(task._replace(y_test=1 - task.y_test))
    for name in ("threshold", "validation_average_precision", "epoch_loss"):
        assert record[name] == flipped[name]
    assert record["average_precision"] != flipped["average_precision"]
    validation = trial(task._replace(y_valid=1 - task.y_valid))
    assert validation["threshold"] != record["threshold"]


def test_a_divergence_is_a_result(digits):
    task = make_task(digits, 8, 0.1, seed=0)
    task = task._replace(X_train=task.X_train.astype(np.float32) * 1e30)
    assert trial(task, lr=1e9)["diverged"] is True


# The study ---------------------------------------------------------------------------------------


def test_every_loss_and_share_has_its_runs(small):
    results, _ = small
    assert len(results.records) == SMALL.n_jobs() == 6 * 2 * (2 * 2 + 1)
    for share, loss in SMALL.cells():
        assert [run["seed"] for run in results.runs(share, loss)] == [0, 1, 2]
    # Other losses make other networks.
    ends = {r["epoch_loss"] for r in results.records if (r["share"], r["seed"]) == (0.1, 0)}
    assert len(ends) == 6 * 2


def test_the_rate_with_the_best_validation_is_used(small):
    results, _ = small
    for share, loss in SMALL.cells():
        means = {
            lr: np.mean([
                record["validation_average_precision"] for record in results.records
                if (record["share"], record["loss"], record["lr"]) == (share, loss, lr)
                and record["seed"] < 2
            ])
            for lr in SMALL.lrs
        }  # fmt: skip
        assert means[results.rates[share, loss]] == max(means.values())


def test_the_number_of_threads_changes_nothing(small, tmp_path):
    fm.set_num_threads(3)
    again = fm.study.run(SMALL, tmp_path, threads=1)
    assert timeless(again) == timeless(small[0])
    assert fm.get_num_threads() == 3


def test_an_interruption_changes_nothing(small, tmp_path):
    def interrupt(finished, total):
        assert total == SMALL.n_jobs()
        if finished >= 7:
            raise KeyboardInterrupt

    fm.set_num_threads(2)
    with pytest.raises(KeyboardInterrupt):
        fm.study.run(SMALL, tmp_path, progress=interrupt)
    assert fm.get_num_threads() == 2
    runs = tmp_path / "runs.jsonl"
    kept = runs.read_bytes()
    assert 7 <= kept.count(b"\n") < SMALL.n_jobs()
    with pytest.raises(ValueError, match=r"the study is not finished, \d+ of 60 runs are"):
        fm.study.read(tmp_path)
    # The last line as a crash may leave it.
    runs.write_bytes(kept + kept[:50])
    results = fm.study.run(SMALL, tmp_path)
    assert timeless(results) == timeless(small[0])
    assert runs.read_bytes().startswith(kept)
    assert runs.read_bytes().count(b"\n") == SMALL.n_jobs()


@pytest.mark.parametrize("fails", [False, True])
def test_the_number_of_threads_is_what_was_asked_for(tmp_path, fails):
    limits = pytest.importorskip("threadpoolctl").threadpool_limits

    def progress(finished, total):
        if fails:
            raise KeyboardInterrupt

    fm.set_num_threads(None)
    before = fm.get_num_threads()
    if before == 1:
        pytest.skip("a limit of 1 does not show on one thread")
    settings = Settings(seeds=1, epochs=1, lrs=(0.1,), gammas=(2,), shares=(0.1,))
    with limits(1, user_api="openmp"):
        try:
            fm.study.run(settings, tmp_path, progress=progress)
        except KeyboardInterrupt:
            assert fails
    assert fm.get_num_threads() == before


def test_the_last_study_gives_the_threads_back():
    fm.set_num_threads(3)
    first, second = one_thread(), one_thread()
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    assert fm.get_num_threads() == 1
    second.__exit__(None, None, None)
    assert fm.get_num_threads() == 3
    fm.set_num_threads(None)


def test_a_finished_study_is_not_run_again(small, monkeypatch):
    results, folder = small
    monkeypatch.setattr("fastmlp.study.experiment.run_trial", None)
    assert fm.study.run(SMALL, folder).records == results.records
    assert fm.study.read(folder).records == results.records


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("epochs", 9, "was begun with 2, not 9"),
        ("shares", (0.1,), "was begun with 0.1,0.01, not 0.1"),
        ("digit", 3, "was begun with 8, not 3"),
    ],
)
def test_other_settings_are_refused(small, name, value, message):
    _, folder = small
    before = (folder / "runs.jsonl").read_bytes()
    options = {"seeds": 3, "epochs": 2, "lrs": (0.1, 0.3), "gammas": (2,)} | {name: value}
    with pytest.raises(SettingsError, match=message) as caught:
        fm.study.run(Settings(**options), folder)
    assert caught.value.name == name
    assert (folder / "runs.jsonl").read_bytes() == before


def test_a_folder_of_other_things_is_refused(tmp_path):
    (tmp_path / "study.json").write_text("[]")
    with pytest.raises(ValueError, match=r"study.json: there are no settings of a study in it"):
        fm.study.run(SMALL, tmp_path)
    (tmp_path / "study.json").unlink()
    (tmp_path / "runs.jsonl").write_text("{}\n")
    with pytest.raises(ValueError, match=r"study.json is missing beside runs.jsonl"):
        fm.study.run(SMALL, tmp_path)


def test_a_broken_line_is_named(tmp_path):
    with Store(tmp_path, SMALL):
        pass
    (tmp_path / "runs.jsonl").write_text('{"share": 0.1}\n')
    with pytest.raises(ValueError, match=r"runs.jsonl, line 1: this is no run of a study"):
        fm.study.run(SMALL, tmp_path)


@pytest.mark.parametrize(
    "change",
    [
        {"loss": "hinge"},
        {"seed": 7},
        {"lr": 5.0},
        {"average_precision": "0.5"},
        {"at_half": {}},
        {"curve": [1.0]},
        {"diverged": None},
    ],
)
def test_a_run_that_lacks_something_is_named(small, tmp_path, change):
    lines = (small[1] / "runs.jsonl").read_bytes().splitlines()
    lines[1] = json.dumps({**json.loads(lines[1]), **change}).encode()
    (tmp_path / "study.json").write_bytes((small[1] / "study.json").read_bytes())
    (tmp_path / "runs.jsonl").write_bytes(b"\n".join(lines) + b"\n")
    for work in (fm.study.read, lambda folder: fm.study.run(SMALL, folder)):
        with pytest.raises(ValueError, match=r"runs.jsonl, line 2: this is no run of a study"):
            work(tmp_path)


@pytest.mark.parametrize("change", [{"depth": 3}, {"hidden": 3}])
def test_damaged_settings_are_named(small, tmp_path, change):
    settings = {**SMALL.to_dict(), **change}
    (tmp_path / "study.json").write_text(json.dumps({"settings": settings}))
    (tmp_path / "runs.jsonl").write_bytes((small[1] / "runs.jsonl").read_bytes())
    with pytest.raises(ValueError, match=r"hidden|study.json: there are no settings"):
        fm.study.read(tmp_path)


def test_a_disk_that_takes_a_part(tmp_path):
    class Full:
        def __init__(self, file, room):
            self.file, self.room = file, room

        def write(self, content):
            if not self.room:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            taken = min(self.room, len(content), 5)
            self.room -= taken
            return self.file.write(content[:taken])

        def __getattr__(self, name):
            return getattr(self.file, name)

    job = Job(0.1, "dice-batch", 0, 0.1)
    with Store(tmp_path, SMALL) as store:
        store._file = Full(store._file, 1000)
        store.add(job, {"diverged": True, "seconds": 1.0})
        store._file.room = 20
        with pytest.raises(OSError, match="No space left on device") as caught:
            store.add(job._replace(seed=1), {"diverged": True, "seconds": 1.0})
        assert caught.value.filename == str(tmp_path / "runs.jsonl")
    with Store(tmp_path, SMALL) as store:
        assert set(store.records) == {job}


def test_two_processes_do_not_share_a_folder(tmp_path):
    with Store(tmp_path, SMALL), pytest.raises(BlockingIOError, match="another process"):
        fm.study.run(SMALL, tmp_path)


def test_what_is_undefined_is_kept_as_such(small, tmp_path):
    job = Job(0.1, "cross-entropy", 0, 0.1)
    record = next(r for r in small[0].records if tuple(r[n] for n in Job._fields) == job)
    with Store(tmp_path, SMALL) as store:
        store.add(job, {**record, "at_half": {**record["at_half"], "precision": float("nan")}})
    with Store(tmp_path, SMALL) as store:
        assert np.isnan(measure(store.records[job], "precision_at_half"))


def test_a_loss_that_always_diverges(small):
    records = [
        {**record, "diverged": record["diverged"] or record["loss"] == "dice-batch"}
        for record in small[0].records
    ]
    with pytest.raises(SettingsError, match="lrs: dice-batch diverged with all of them"):
        fm.study.Results(SMALL, records)


def test_missing_scikit_learn_names_the_extra(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn.metrics", None)
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'fastmlp\[sklearn\]'"):
        fm.study.run(SMALL, tmp_path)


# Results -----------------------------------------------------------------------------------------


def test_means_leave_out_what_is_undefined(small):
    records = json.loads(json.dumps(small[0].records))
    cell = (0.1, "cross-entropy")
    rate = small[0].rates[cell]
    values = iter([None, 0.5, 0.75])
    for record in records:
        if (record["share"], record["loss"], record["lr"]) == (*cell, rate):
            record["at_half"]["precision"] = next(values)
    results = fm.study.Results(SMALL, records)
    mean, spread = results.mean_and_spread(*cell, "precision_at_half")
    assert (mean, spread) == pytest.approx((0.625, np.std([0.5, 0.75], ddof=1)))
    row = results.summary()[0]
    assert (row["share"], row["loss"], row["runs"], row["empty_at_half"]) == (*cell, 3, 1)


def test_gains_are_seed_by_seed(small):
    results, _ = small
    name = "recall_at_best"
    ours, base = (results.values(0.1, loss, name) for loss in ("focal-2", "cross-entropy"))
    differences = np.subtract(ours, base)
    mean, spread, above = results.gain(0.1, "focal-2", name)
    assert (mean, spread) == pytest.approx((differences.mean(), differences.std(ddof=1)))
    assert above == sum(a > b for a, b in zip(ours, base, strict=True))
    assert results.gain(0.1, "cross-entropy", name) == (0, 0, 0)


def read_table(path):
    return list(csv.DictReader(path.read_text().splitlines()))


def test_tables_hold_the_runs(small, tmp_path):
    results, _ = small
    paths = results.write(tmp_path)
    assert {path.name for path in paths} == {"runs.csv", "summary.csv", "results.json"}
    rows = read_table(tmp_path / "runs.csv")
    assert len(rows) == len(results.records)
    for row, record in zip(rows, results.records, strict=True):
        assert (float(row["share"]), row["loss"], int(row["seed"])) == (
            record["share"], record["loss"], record["seed"]
        )  # fmt: skip
        assert float(row["average_precision"]) == record["average_precision"]
        assert (row["precision_at_half"] == "") == (record["at_half"]["precision"] is None)
    assert sum(int(row["chosen"]) for row in rows) == 6 * 2 * 3
    summary = read_table(tmp_path / "summary.csv")
    assert [(float(row["share"]), row["loss"]) for row in summary] == SMALL.cells()
    for row in summary:
        values = results.values(float(row["share"]), row["loss"], "recall_at_best")
        assert float(row["recall_at_best_mean"]) == pytest.approx(np.mean(values))
        assert float(row["recall_at_best_std"]) == pytest.approx(np.std(values, ddof=1))
    complete = json.loads((tmp_path / "results.json").read_text())
    assert complete["runs"] == results.records
    assert complete["settings"] == SMALL.to_dict()
    assert len(complete["summary"]) == len(summary)


def test_the_table_in_markdown(small):
    results, _ = small
    head, rule, *rows = results.table(0.1).splitlines()
    assert [row.split(" | ")[0] for row in rows] == [f"| {c.label}" for c in SMALL.contenders]
    assert {line.count("|") for line in (head, rule, *rows)} == {10}
    mean, spread = results.mean_and_spread(0.1, "dice-batch", "average_precision")
    assert f"{100 * mean:.1f} ± {100 * spread:.1f}" in rows[2]


def test_one_seed_has_no_spread(tmp_path):
    settings = Settings(seeds=1, epochs=1, lrs=(0.1,), gammas=(2,), shares=(0.1,))
    results = fm.study.run(settings, tmp_path)
    assert " ± -" in results.table(0.1)
    assert all(np.isnan(row["recall_at_half_std"]) for row in results.summary())
    for draw in fm.study.figures(results).values():
        draw()


# Figures -----------------------------------------------------------------------------------------


def test_figures_are_drawn(small):
    drawn = {name: draw() for name, draw in fm.study.figures(small[0]).items()}
    assert drawn.keys() == FIGURES
    for figure in drawn.values():
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png")
        assert buffer.getvalue().startswith(b"\x89PNG")
    assert "matplotlib.pyplot" not in sys.modules


def test_the_focal_loss_is_drawn_by_its_formula():
    (axes,) = fm.study.focal_figure([0, 2]).axes
    cross_entropy, focal = axes.get_lines()
    p = cross_entropy.get_xdata()
    np.testing.assert_allclose(cross_entropy.get_ydata(), -np.log(p))
    np.testing.assert_allclose(focal.get_ydata(), -((1 - p) ** 2) * np.log(p))
    with pytest.raises(ValueError, match="gammas must be"):
        fm.study.focal_figure([-1])


def test_curves_are_means_over_the_seeds(small):
    results, _ = small
    first, second = fm.study.curves_figure(results).axes
    assert first.get_title(loc="left") == "10 % positive"
    assert second.get_title(loc="left") == "1 % positive"
    lines = {line.get_label(): line for line in second.get_lines()}
    assert list(lines) == [contender.label for contender in SMALL.contenders]
    curves = [run["curve"] for run in results.runs(0.01, "dice-batch")]
    drawn = lines["dice over the batch"].get_ydata()
    np.testing.assert_allclose(drawn, 100 * np.mean(curves, axis=0))


def test_gamma_starts_with_cross_entropy(small):
    results, _ = small
    upper, _, lower, _ = fm.study.gamma_figure(results).axes
    assert [label.get_text() for label in lower.get_xticklabels()] == ["0", "2"]
    recall = np.asarray(upper.containers[1].lines[0].get_ydata(), dtype=float)
    expected = [
        100 * results.mean_and_spread(0.1, loss, "recall_at_half")[0]
        for loss in ("cross-entropy", "focal-2")
    ]
    np.testing.assert_allclose(recall, expected)


# The command -------------------------------------------------------------------------------------

ANSI = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
QUICK = ("--seeds", "1", "--epochs", "1", "--gammas", "2", "--shares", "0.1")


@pytest.fixture
def invoke(tmp_path, monkeypatch):
    """Return a function that runs the command in an empty folder."""
    pytest.importorskip("typer")
    pytest.importorskip("rich")
    from typer.testing import CliRunner

    from fastmlp.cli.app import app

    for name in ("FORCE_COLOR", "TTY_COMPATIBLE", "COLUMNS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    return lambda *arguments: CliRunner().invoke(app, ["study", "losses", *arguments])


def told(result):
    return " ".join(re.sub(r"[│╭╮╰╯─|+]", " ", ANSI.sub("", result.output)).split())


def test_the_command_leaves_tables_and_figures(invoke, tmp_path):
    result = invoke(*QUICK)
    assert result.exit_code == 0, result.output
    assert {path.name for path in (tmp_path / "fastmlp-study").iterdir()} == FILES | FIGURES
    for text in ("42/42 runs", "10 % positive", "focal-2-alpha-0.25", "Wrote runs.csv"):
        assert text in result.output
    again = invoke(*QUICK, "--quiet")
    assert (again.exit_code, again.output) == (0, "")


def test_the_bar_and_the_lines():
    pytest.importorskip("rich")
    from rich.console import Console

    from fastmlp.cli.comparing import Reporter

    def shown(terminal):
        stream = io.StringIO()
        console = Console(file=stream, force_terminal=terminal, width=60, color_system=None)
        with Reporter(console) as reporter:
            for finished in (5, 5, 6, 20):
                reporter.update(finished, 20)
        return stream.getvalue()

    for text in map(shown, (True, False)):
        assert text.count("Going on after 5 of 20 runs.") == 1
        assert "6/20 runs" in text
        assert "0:00 left" in text
    assert shown(False).count("\n") == 3


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--data", "iris"], "Invalid value for '--data': 'iris' is none of digits, mnist"),
        (["--digit", "12"], "'--digit': 12 is not a digit"),
        (["--shares", "0.1,x"], "'--shares': '0.1,x' is not a list of numbers"),
        (["--shares", "2"], "'--shares': 2 is not a positive number of at most 0.5"),
        (["--gammas", "-1"], "'--gammas': -1 is not a positive number"),
        (["--gammas", ""], "'--gammas'"),
        (["--seeds", "0"], "'--seeds': 0 is not"),
        (["--epochs", "0"], "'--epochs': 0 is not"),
        (["--threads", "0"], "'--threads'"),
        (["--out", ""], "'--out'"),
    ],
)
def test_bad_options_are_named(invoke, tmp_path, options, message):
    result = invoke(*options)
    assert result.exit_code == 2
    assert message in told(result)
    assert list(tmp_path.iterdir()) == []


def test_failures_name_the_option(invoke, tmp_path):
    result = invoke("--shares", "0.001")
    assert result.exit_code == 1
    assert "error: --shares: 0.001 leaves 1 positives" in told(result)
    assert invoke(*QUICK, "--out", "a").exit_code == 0
    result = invoke(*QUICK, "--digit", "3", "--out", "a")
    assert result.exit_code == 1
    assert "error: --digit: the study in a was begun with 8, not 3" in told(result)
    (tmp_path / "file").write_text("")
    result = invoke(*QUICK, "--out", "file")
    assert result.exit_code == 1
    assert "--out: file is a file, not a folder" in told(result)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_keeps_the_finished_runs(invoke, tmp_path, number):
    command = [sys.executable, "-m", "fastmlp", "study", "losses", "--epochs", "40"]
    with subprocess.Popen(
        command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        while "runs  " not in process.stdout.readline():
            assert process.poll() is None, process.stderr.read()
        process.send_signal(number)
        rest, complaints = process.communicate(timeout=30)
    assert (process.returncode, complaints) == (128 + number, "")
    assert "which are kept in fastmlp-study" in rest
    assert "The same command goes on from there." in rest
    folder = tmp_path / "fastmlp-study"
    assert {path.name for path in folder.iterdir()} == {"study.json", "runs.jsonl"}
    assert (folder / "runs.jsonl").read_bytes().count(b"\n") >= 23


def test_measures_are_in_percent_or_not_at_all(small):
    for row in small[0].summary():
        for name in MEASURES:
            mean = row[f"{name}_mean"]
            assert np.isnan(mean) or 0 <= mean <= 1

"""Confusion matrix, precision, recall and support, and the metrics of scikit-learn."""

import sys

import numpy as np
import pytest

from fastmlp import metrics
from fastmlp.metrics import confusion_matrix, precision_recall_support

TRUE = [0, 0, 0, 1, 1, 2]
PREDICTED = [0, 0, 1, 1, 0, 2]


def test_confusion_rows_are_true_classes():
    matrix = confusion_matrix(TRUE, PREDICTED, 3)
    assert matrix.dtype == np.int64
    np.testing.assert_array_equal(matrix, [[2, 1, 0], [1, 1, 0], [0, 0, 1]])


@pytest.mark.parametrize("dtype", [np.uint8, np.int8, np.int64, np.uint64, bool])
def test_confusion_takes_any_integer_dtype(dtype):
    true = np.array([0, 1, 1], dtype=dtype)
    np.testing.assert_array_equal(confusion_matrix(true, true, 2), [[1, 0], [0, 2]])


def test_uint8_labels_do_not_overflow():
    true = np.full(3, 200, dtype=np.uint8)
    assert confusion_matrix(true, true, 201)[200, 200] == 3


def test_scores_by_hand():
    precision, recall, support = precision_recall_support(TRUE, PREDICTED, 3)
    np.testing.assert_allclose(precision, [2 / 3, 1 / 2, 1])
    np.testing.assert_allclose(recall, [2 / 3, 1 / 2, 1])
    np.testing.assert_array_equal(support, [3, 2, 1])


def test_scores_without_rows_are_nan():
    precision, recall, support = precision_recall_support([0, 0], [0, 1], 4)
    np.testing.assert_array_equal(precision, [1, 0, np.nan, np.nan])
    np.testing.assert_array_equal(recall, [0.5, np.nan, np.nan, np.nan])
    np.testing.assert_array_equal(support, [2, 0, 0, 0])


def test_scores_agree_with_scikit_learn():
    sklearn_metrics = pytest.importorskip("sklearn.metrics")
    rng = np.random.default_rng(3)
    true, predicted = rng.integers(0, 7, size=(2, 500))
    expected = sklearn_metrics.precision_recall_fscore_support(true, predicted)
    scores = precision_recall_support(true, predicted, 7)
    np.testing.assert_allclose(scores.precision, expected[0])
    np.testing.assert_allclose(scores.recall, expected[1])
    np.testing.assert_array_equal(scores.support, expected[3])
    np.testing.assert_array_equal(
        confusion_matrix(true, predicted, 7), sklearn_metrics.confusion_matrix(true, predicted)
    )


@pytest.mark.parametrize(
    ("true", "predicted", "n_classes", "error", "message"),
    [
        ([0, 3], [0, 1], 3, ValueError, r"y_true\[1\] is 3: class indices must be in \[0, 3\)"),
        ([0, 1], [0, -1], 3, ValueError, r"y_pred\[1\] is -1"),
        ([0, 1], [0], 3, ValueError, "y_pred has 1 rows, y_true has 2"),
        ([], [], 3, ValueError, "y_true is empty"),
        ([[0]], [[0]], 3, ValueError, "y_true must have one dimension"),
        ([0.5], [0], 3, TypeError, "y_true must hold integers, got float64"),
        ([0], [0], 0, ValueError, "n_classes must be at least 1"),
    ],
)
def test_bad_input_names_the_argument(true, predicted, n_classes, error, message):
    with pytest.raises(error, match=message):
        confusion_matrix(true, predicted, n_classes)


# scikit-learn's --------------------------------------------------------------------------------

HITS = [1, 1, 0, 0, 0, 1]
GUESSES = [1, 0, 0, 1, 0, 1]
SCORES = [0.9, 0.3, 0.2, 0.6, 0.1, 0.8]
WEIGHTS = [1, 2, 3, 4, 5, 6]


@pytest.fixture
def sklearn():
    pytest.importorskip("sklearn.metrics")


@pytest.mark.usefixtures("sklearn")
class TestOfScikitLearn:
    def test_by_hand(self):
        assert metrics.accuracy(HITS, GUESSES) == pytest.approx(4 / 6)
        assert metrics.precision(HITS, GUESSES) == pytest.approx(2 / 3)
        assert metrics.recall(HITS, GUESSES) == pytest.approx(2 / 3)
        assert metrics.f1(HITS, GUESSES) == pytest.approx(2 / 3)
        # Ranked 1, 1, 0, 1, 0, 0: precisions 1, 1, and 3/4 at the third positive.
        assert metrics.average_precision(HITS, SCORES) == pytest.approx((1 + 1 + 3 / 4) / 3)

    def test_weights_by_hand(self):
        weighted = {"sample_weight": WEIGHTS}
        assert metrics.accuracy(HITS, GUESSES, **weighted) == pytest.approx(15 / 21)
        assert metrics.precision(HITS, GUESSES, **weighted) == pytest.approx(7 / 11)
        assert metrics.recall(HITS, GUESSES, **weighted) == pytest.approx(7 / 9)
        assert metrics.f1(HITS, GUESSES, **weighted) == pytest.approx(14 / (14 + 4 + 2))
        expected = (1 * 1 + 6 * 1 + 2 * 9 / 13) / 9
        assert metrics.average_precision(HITS, SCORES, **weighted) == pytest.approx(expected)

    def test_a_weight_of_two_is_two_copies(self):
        rng = np.random.default_rng(1)
        true, predicted = rng.integers(0, 2, size=(2, 50))
        scores = rng.random(50)
        copies = rng.integers(1, 4, size=50)
        for metric, given in (
            (metrics.accuracy, predicted),
            (metrics.precision, predicted),
            (metrics.recall, predicted),
            (metrics.f1, predicted),
            (metrics.average_precision, scores),
        ):
            repeated = metric(np.repeat(true, copies), np.repeat(given, copies))
            assert metric(true, given, sample_weight=copies) == pytest.approx(repeated)

    def test_the_curve_ends_without_predictions(self):
        precision, recall, thresholds = metrics.precision_recall_curve(HITS, SCORES)
        np.testing.assert_array_equal(thresholds, np.sort(SCORES))
        np.testing.assert_allclose(precision, [3 / 6, 3 / 5, 3 / 4, 2 / 3, 1, 1, 1])
        np.testing.assert_allclose(recall, [1, 1, 1, 2 / 3, 2 / 3, 1 / 3, 0])

    def test_the_curve_takes_weights(self):
        curve = metrics.precision_recall_curve(HITS, SCORES, sample_weight=WEIGHTS)
        assert curve.precision[0] == pytest.approx(9 / 21)

    def test_what_is_undefined_is_nan(self):
        assert np.isnan(metrics.precision([0, 1], [0, 0]))
        assert np.isnan(metrics.recall([0, 0], [0, 1]))
        assert metrics.f1([0, 1], [0, 0]) == 0
        assert np.isnan(metrics.f1([0, 0], [0, 0]))

    def test_means_over_classes_are_those_of_the_classes(self):
        scores = precision_recall_support(TRUE, PREDICTED, 3)
        macro = metrics.precision(TRUE, PREDICTED, average="macro")
        assert macro == pytest.approx(scores.precision.mean())
        weighted = metrics.recall(TRUE, PREDICTED, average="weighted")
        assert weighted == pytest.approx(np.average(scores.recall, weights=scores.support))

    def test_several_labels_a_row(self):
        true, predicted = np.array([[1, 0], [1, 1]]), np.array([[1, 0], [0, 1]])
        assert metrics.accuracy(true, predicted) == 0.5
        assert metrics.recall(true, predicted, average="macro") == 0.75

    def test_bad_input(self):
        with pytest.raises(ValueError, match="inconsistent numbers of samples"):
            metrics.accuracy([0, 1], [0])
        with pytest.raises(ValueError, match="average='binary'"):
            metrics.precision(TRUE, PREDICTED)
        with pytest.raises(TypeError, match="average must be a string, got None"):
            metrics.recall(TRUE, PREDICTED, average=None)
        with pytest.raises(ValueError, match="NaN"):
            metrics.average_precision([0, 1], [0.5, np.nan])


def test_missing_scikit_learn_names_the_extra(monkeypatch):
    for name in [name for name in sys.modules if name.partition(".")[0] == "sklearn"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "sklearn", None)
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'fastmlp\[sklearn\]'"):
        metrics.accuracy(HITS, GUESSES)
    # The command line does without.
    assert confusion_matrix(HITS, GUESSES, 2).sum() == 6

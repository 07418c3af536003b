"""Confusion matrix, precision, recall and support."""

import numpy as np
import pytest

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

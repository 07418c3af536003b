"""Figures: what is drawn, not how it looks."""

import io
import sys

import numpy as np
import pytest

from fastmlp.history import History
from fastmlp.plot import confusion_figure, training_curves

matplotlib = pytest.importorskip("matplotlib")
Text = pytest.importorskip("matplotlib.text").Text


def make_history(epochs, *, classifier=True, validation=True):
    steps = np.arange(1, epochs + 1)
    history = History(loss=list(2.0 / steps), seconds=[0.1] * epochs)
    if classifier:
        history.accuracy = list(1 - 0.5 / steps)
    if validation:
        history.val_loss = list(2.5 / steps)
    if validation and classifier:
        history.val_accuracy = list(0.97 - 0.4 / steps - 0.001 * steps)
    return history


def lines(axes):
    return {line.get_label(): line for line in axes.get_lines()}


def texts(axes):
    return [text.get_text() for text in axes.texts]


def render(figure):
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    return buffer.getvalue()


def test_curves_show_the_history():
    history = make_history(30)
    figure = training_curves(history, title="784-10 on mnist")
    loss, accuracy = figure.axes
    assert [text.get_text() for text in figure.texts] == ["784-10 on mnist"]
    assert (loss.get_title(loc="left"), accuracy.get_title(loc="left")) == ("Loss", "Accuracy")
    assert loss.get_xlabel() == accuracy.get_xlabel() == "epoch"
    assert loss.get_ylabel() == "loss (mean over samples)"
    assert accuracy.get_ylabel() == "accuracy (%)"
    np.testing.assert_array_equal(lines(loss)["train"].get_xdata(), np.arange(1, 31))
    np.testing.assert_allclose(lines(loss)["train"].get_ydata(), history.loss)
    np.testing.assert_allclose(lines(loss)["test"].get_ydata(), history.val_loss)
    np.testing.assert_allclose(
        lines(accuracy)["train"].get_ydata(), 100 * np.array(history.accuracy)
    )
    np.testing.assert_allclose(
        lines(accuracy)["test"].get_ydata(), 100 * np.array(history.val_accuracy)
    )


def test_curves_name_the_final_and_the_best_value():
    history = make_history(30)
    best = int(np.argmax(history.val_accuracy))
    accuracy = training_curves(history).axes[1]
    assert f"train  {100 * history.accuracy[-1]:.2f} %" in texts(accuracy)
    assert f"test  {100 * history.val_accuracy[-1]:.2f} %" in texts(accuracy)
    assert f"best test {100 * history.val_accuracy[best]:.2f} %\nepoch {best + 1}" in texts(
        accuracy
    )
    mark = lines(accuracy)["best test"]
    assert (mark.get_xdata()[0], mark.get_ydata()[0]) == pytest.approx(
        (best + 1, 100 * history.val_accuracy[best])
    )


def test_labels_of_equal_values_do_not_overlap():
    history = make_history(10)
    history.val_accuracy = list(history.accuracy)
    history.val_loss = list(history.loss)
    figure = training_curves(history)
    figure.draw_without_rendering()
    for axes in figure.axes:
        first, second = (text.get_window_extent() for text in axes.texts if "  " in text.get_text())
        assert not first.overlaps(second)
        assert figure.bbox.containsx(first.x1)
        assert figure.bbox.containsx(second.x1)


@pytest.mark.parametrize("epochs", [1, 2, 12, 500])
def test_curves_of_any_length_are_seen(epochs):
    figure = training_curves(make_history(epochs))
    assert render(figure).startswith(b"\x89PNG\r\n\x1a\n")
    for axes in figure.axes:
        low, high = axes.get_xlim()
        assert low <= 1 < epochs + 1e-9 <= high + 1e-9
        assert low < high
        assert (lines(axes)["train"].get_marker() == "o") == (epochs <= 12)
        assert all(tick == int(tick) for tick in axes.get_xticks())


def test_perfect_accuracy_from_the_start():
    history = History(loss=[0.0, 0.0], accuracy=[1.0, 1.0], seconds=[0.1, 0.1])
    low, high = training_curves(history).axes[1].get_ylim()
    assert low < high == 100


def test_regression_has_one_panel():
    figure = training_curves(make_history(5, classifier=False))
    assert [axes.get_title(loc="left") for axes in figure.axes] == ["Loss"]
    assert {"train", "test"} <= lines(figure.axes[0]).keys()


def test_without_validation_only_the_training_is_drawn():
    figure = training_curves(make_history(5, validation=False))
    assert "test" not in lines(figure.axes[0])
    assert "test" not in lines(figure.axes[1])


def test_metrics_have_panels_of_their_own():
    history = make_history(20)
    history.metrics = {"val_f1": list(np.linspace(0.2, 0.8, 20)), "val_cost": [-5.0] * 20}
    figure = training_curves(history)
    titles = [axes.get_title(loc="left") for axes in figure.axes]
    assert titles == ["Loss", "Accuracy", "f1", "cost"]
    for axes, values in zip(figure.axes[2:], history.metrics.values(), strict=True):
        np.testing.assert_array_equal(lines(axes)["test"].get_ydata(), values)
    assert "test  0.8" in texts(figure.axes[2])
    assert "best epoch" not in lines(figure.axes[0])
    history.best_epoch = 7
    figure = history.plot("a title")
    for axes in figure.axes:
        assert list(lines(axes)["best epoch"].get_xdata()) == [7, 7]
    assert [text.get_text() for text in figure.texts] == ["a title"]
    assert render(figure).startswith(b"\x89PNG")


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("epochs", [1, 3])
def test_metrics_that_are_not_finite(epochs, value):
    history = make_history(epochs, classifier=False)
    history.metrics = {"val_score": [0.5] * (epochs - 1) + [value]}
    assert render(training_curves(history)).startswith(b"\x89PNG")


def test_empty_history_is_an_error():
    with pytest.raises(ValueError, match="history holds no finished epoch"):
        training_curves(History())


def test_pyplot_is_left_alone(monkeypatch):
    monkeypatch.delitem(sys.modules, "matplotlib.pyplot", raising=False)
    render(training_curves(make_history(3)))
    render(confusion_figure([[1, 0], [0, 1]]))
    assert "matplotlib.pyplot" not in sys.modules


def test_missing_matplotlib_names_the_extra(monkeypatch):
    for name in [name for name in sys.modules if name.partition(".")[0] == "matplotlib"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    for draw in (lambda: training_curves(make_history(3)), lambda: confusion_figure([[1]])):
        with pytest.raises(ModuleNotFoundError, match=r"pip install 'fastmlp\[plot\]'"):
            draw()


def test_confusion_shows_the_counts():
    matrix = np.array([[1200, 3, 0], [1, 40, 0], [0, 0, 0]])
    figure = confusion_figure(matrix, labels=["a", "b", "c"], title="97 %")
    (axes,) = figure.axes
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("predicted", "true")
    assert axes.get_title(loc="left") == "97 %"
    assert [label.get_text() for label in axes.get_yticklabels()] == ["a", "b", "c"]
    shown = {(text.get_position()): text.get_text() for text in axes.texts}
    assert shown == {(0, 0): "1,200", (1, 0): "3", (0, 1): "1", (1, 1): "40"}
    assert render(figure).startswith(b"\x89PNG")


def test_confusion_colors_tell_hits_from_mistakes():
    colors = confusion_figure([[9, 1], [0, 5]]).axes[0].get_images()[0].get_array()
    red, blue = colors[..., 0], colors[..., 2]
    assert blue[0, 0] > red[0, 0]
    assert red[0, 1] > blue[0, 1]
    assert abs(blue[1, 0] - red[1, 0]) < 0.05


def test_confusion_of_many_classes_has_no_text():
    figure = confusion_figure(np.eye(40, dtype=int))
    assert not figure.axes[0].texts
    assert render(figure).startswith(b"\x89PNG")


NAMES = ["$a^{$", r"b\$_$", "\udcff", "50 % & #"]


@pytest.mark.parametrize("title", NAMES)
def test_names_are_no_markup(title):
    for figure in (
        training_curves(make_history(3), title=title),
        confusion_figure(np.eye(4), labels=NAMES, title=title),
    ):
        assert render(figure).startswith(b"\x89PNG")
        for text in figure.findobj(Text):
            if text.get_visible() and text.get_text() in NAMES:
                assert not text.get_parse_math()


def test_dollars_are_drawn():
    def width(title):
        figure = training_curves(make_history(3), title=title)
        figure.draw_without_rendering()
        return figure.texts[0].get_window_extent().width

    # As math these would be the same letter.
    assert width("$x$") > width("x") * 2


# Of old matplotlib beside new pyparsing.
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("classes", [3, 40])
def test_tex_in_matplotlibrc_is_passed_over(classes):
    with matplotlib.rc_context({"text.usetex": True}):
        for figure in (
            training_curves(make_history(3), title="50 %"),
            confusion_figure(np.eye(classes), title="50 %"),
        ):
            assert render(figure).startswith(b"\x89PNG")
            # More room for more ticks.
            figure.set_size_inches(20, 20)
            figure.set_dpi(20)
            assert render(figure).startswith(b"\x89PNG")
            assert not any(text.get_usetex() for text in figure.findobj(Text))


@pytest.mark.parametrize("matrix", [[[1, 2]], [1], np.zeros((0, 0))])
def test_confusion_must_be_square(matrix):
    with pytest.raises(ValueError, match="matrix must be square"):
        confusion_figure(matrix)


def test_confusion_labels_must_fit():
    with pytest.raises(ValueError, match="labels has 1 names, matrix has 2 classes"):
        confusion_figure([[1, 0], [0, 1]], labels=["a"])

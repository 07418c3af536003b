"""The history of a fit as a table and as a dictionary."""

import pytest

import fastmlp as fm


def history(epochs):
    return fm.History(
        loss=[1 / (n + 1) for n in range(epochs)],
        val_loss=[0.5] * epochs,
        seconds=[0.25] * epochs,
        metrics={"val_r2": [0.1 * n for n in range(epochs)]},
        best_epoch=epochs or None,
    )


def test_table():
    assert history(2).table() == (
        "epoch    loss  val_loss  val_r2  seconds  total\n"
        "-----------------------------------------------\n"
        "    1  1.0000    0.5000  0.0000    0.250  0.250\n"
        "   *2  0.5000    0.5000  0.1000    0.250  0.500"
    )


@pytest.mark.parametrize("epochs", [0, 1, 3, 20, 21, 1000])
@pytest.mark.parametrize("max_rows", [None, 0, 1, 4, 5, 20])
def test_long_tables_leave_epochs_out(epochs, max_rows):
    _, _, *rows = history(epochs).table(max_rows).splitlines()
    shown = [row.split()[0].lstrip("*") for row in rows]
    if max_rows is None or epochs <= max_rows:
        assert shown == [str(n + 1) for n in range(epochs)]
        return
    first, last = (max_rows + 1) // 2, max_rows // 2
    after = range(epochs - last + 1, epochs + 1)
    assert shown == [str(n + 1) for n in range(first)] + ["..."] + [str(n) for n in after]


def test_str_is_a_short_table():
    assert str(history(5)) == history(5).table()
    assert str(history(500)) == history(500).table(20)
    assert repr(history(1)).startswith("History(loss=[1.0]")


def test_to_dict_copies():
    original = history(2)
    lists = original.to_dict()
    assert list(lists) == ["loss", "accuracy", "val_loss", "val_accuracy", "seconds", "val_r2"]
    lists["val_r2"].append(5.0)
    lists["loss"].append(5.0)
    assert original == history(2)

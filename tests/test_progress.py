"""What `verbose` prints: lines, and in a terminal one that moves."""

import io
import os
import re
import subprocess
import sys

import numpy as np
import pytest

import fastmlp as fm
from fastmlp.callbacks import Progress
from fastmlp.progress import MovingLine, Printer, bar, clock, is_terminal

MOVING = re.compile(
    r"epoch +(\d)/3  ([━─]+| *\d+%)  loss \d\.\d{4}  (accuracy \d\.\d{4}  )?"
    r"[\d,]+ samples/s  \d+:\d\d left"
)


class Terminal(io.StringIO):
    def isatty(self):
        return True


def rows_of_terminal(text):
    """Return what a terminal shows in the end, line by line, and all that stood in a last line."""
    moving = re.findall(r"\r([^\r\n]*)\x1b\[K", text)
    shown = [line.rpartition("\x1b[K")[2].rpartition("\r")[2] for line in text.split("\n")]
    return shown, [line for line in moving if line]


def fit(monkeypatch, stream, width=80, regression=False, n=500, data=None, **options):
    monkeypatch.setattr(sys, "stdout", stream)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", str(width))
    monkeypatch.setattr("fastmlp.progress.SHOW_SECONDS", 0.0)
    monkeypatch.setattr("fastmlp.mlp.POLL_SECONDS", 0.0)
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(n, 6)), rng.integers(3, size=n)
    net = fm.MLP([6, 1], ["identity"]) if regression else fm.MLP([6, 3])
    net.fit(*(data or (X, y)), epochs=3, lr=1e-3, **{"verbose": 1, **options})
    return stream.getvalue()


@pytest.mark.parametrize("regression", [False, True])
def test_a_terminal_shows_the_running_epoch(monkeypatch, regression):
    lines = fit(monkeypatch, io.StringIO(), regression=regression)
    assert "\x1b" not in lines
    assert "\r" not in lines
    shown, moving = rows_of_terminal(fit(monkeypatch, Terminal(), 120, regression))
    # The seconds differ.
    assert [line.rpartition("  ")[0] for line in shown] == [
        line.rpartition("  ")[0] for line in lines.split("\n")
    ]
    found = [MOVING.fullmatch(line) for line in moving]
    assert all(found)
    assert {match[1] for match in found} == {"1", "2", "3"}
    bars = [match[2] for match in found if match[1] == "2"]
    # Its length changes with that of the other numbers.
    shares = [drawn.count("━") / len(drawn) for drawn in bars]
    assert len(set(shares)) > 3
    assert (min(shares), max(shares)) == (shares[0], 1.0) == (shares[0], shares[-1])
    assert all(bool(match[3]) != regression for match in found)


@pytest.mark.parametrize("width", [20, 60, 72, 80, 200])
def test_the_moving_line_fits(monkeypatch, width):
    _, moving = rows_of_terminal(fit(monkeypatch, Terminal(), width=width))
    assert moving
    assert max(map(len, moving)) <= width - 1
    for line in moving:
        size = len(re.search(r"[━─]*", line[11:])[0])
        assert size == (30 if width == 200 else 0) or (width == 80 and 5 <= size < 30)
        assert bool(size) != (re.search(r"\d%  ", line[:20]) is not None)


def test_lines_each_so_many_epochs(monkeypatch):
    shown, moving = rows_of_terminal(fit(monkeypatch, Terminal(), verbose=2))
    assert [line[:9] for line in shown] == ["epoch 2/3", ""]
    assert {MOVING.fullmatch(line)[1] for line in moving} == {"1", "2", "3"}
    assert fit(monkeypatch, Terminal(), verbose=0) == ""


def test_batches_whose_number_is_not_known_yet(monkeypatch):
    X, y = np.ones((48, 6)), np.zeros(48, np.int64)
    data = fm.data.Batches(lambda: ((X[i : i + 16], y[i : i + 16]) for i in (0, 16, 32)))
    _, moving = rows_of_terminal(fit(monkeypatch, Terminal(), data=(data,)))
    first = [line for line in moving if line.startswith("epoch 1/3")]
    assert re.fullmatch(
        r"epoch 1/3  loss \d\.\d{4}  accuracy \d\.\d{4}  [\d,]+ samples/s", first[0]
    )
    assert all(MOVING.fullmatch(line) for line in moving[len(first) :])


def test_an_epoch_longer_than_the_one_before():
    printer = Printer(1)
    printer.on_fit_begin(fm.MLP([6, 3]), 2, 0)
    printer._pace._began -= 60
    text = printer.text(Progress(2, 2, 64, 32, 0.5, 0.5, 1.0, 4), 120)
    assert re.search(r"  ━{30}  ", text)
    assert text.endswith("  0:00 left")


def test_the_best_epoch_is_told(monkeypatch):
    printed = fit(monkeypatch, io.StringIO(), early_stopping=5).splitlines()
    assert printed[-1] == "best epoch 3"


def test_the_terminal_is_left_clean_by_an_exception(monkeypatch):
    class Fail(fm.Callback):
        def on_progress(self, net, progress):
            raise OSError("mine")

    stream = Terminal()
    with pytest.raises(OSError, match="mine"):
        fit(monkeypatch, stream, callbacks=[Fail()])
    assert stream.getvalue().endswith("\r\x1b[K")


@pytest.mark.parametrize(("term", "expected"), [("xterm", True), ("dumb", False), (None, False)])
def test_terminals_whose_lines_cannot_move(monkeypatch, term, expected):
    if term is None:
        monkeypatch.delenv("TERM", raising=False)
    else:
        monkeypatch.setenv("TERM", term)
    assert is_terminal(Terminal()) is expected
    assert not is_terminal(io.StringIO())
    assert not is_terminal(None)


def test_a_real_terminal():
    program = (
        "import numpy as np, fastmlp as fm\n"
        "fm.MLP([2, 2]).fit(np.ones((9, 2)), np.zeros(9, int), epochs=2, verbose=1)"
    )
    ours, theirs = os.openpty()
    environment = {**os.environ, "TERM": "xterm", "PYTHONIOENCODING": "utf-8"}
    with subprocess.Popen(
        [sys.executable, "-c", program], stdout=theirs, stdin=theirs, env=environment
    ) as process:
        assert process.wait(timeout=60) == 0
    os.close(theirs)
    text = os.read(ours, 1 << 16).decode()
    os.close(ours)
    assert re.search(r"\repoch 1/2  ━+  loss .*\r\x1b\[Kepoch 1/2  loss", text)
    assert text.endswith(" s\r\n")


@pytest.mark.parametrize(
    ("encoding", "drawn"),
    [(None, "━━━───"), ("utf-8", "━━━───"), ("ascii", "===---"), ("latin-1", "===---")],
)
def test_bar(encoding, drawn):
    assert bar(0.5, 6, encoding) == drawn
    assert len(set(bar(0.0, 6))) == len(set(bar(1.0, 6))) == 1
    assert bar(0.999, 6)[-1] != bar(1.0, 6)[-1]


def test_a_moving_line_that_was_not_shown_leaves_no_trace():
    stream = io.StringIO()
    MovingLine(stream).clear()
    assert stream.getvalue() == ""


def test_a_printer_is_a_callback():
    assert isinstance(Printer(1), fm.Callback)


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0:00"), (59.6, "1:00"), (3599, "59:59"), (3661, "1:01:01")]
)
def test_clock(seconds, text):
    assert clock(seconds) == text

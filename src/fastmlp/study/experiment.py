"""Running a study: many networks side by side, each on one thread."""

import os
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait

from .. import data
from ..callbacks import Callback, Progress
from ..checks import check_positive_int
from ..machine import get_num_threads, one_thread
from ..metrics import scikit_learn
from ..mlp import MLP
from .results import Results, choose_lrs
from .settings import Job, Settings
from .store import Store
from .task import make_task
from .trial import Record, run_trial

ProgressHook = Callable[[int, int], None]

_POLL_SECONDS = 0.1


class _Cancel(Callback):
    """Ends fits in other threads."""

    def __init__(self) -> None:
        self.event = threading.Event()

    def on_progress(self, net: MLP, progress: Progress) -> None:
        """End the fit once the event is set."""
        if self.event.is_set():
            raise KeyboardInterrupt


def run(
    settings: Settings,
    folder: str | os.PathLike[str],
    *,
    threads: int | None = None,
    progress: ProgressHook | None = None,
) -> Results:
    """Run a study, or the rest of it, and return its results.

    Every loss and share is trained with every learning rate and the first two seeds. The rate with
    the best mean average precision on the validation rows is chosen, and used for the other seeds.
    Nothing is ever chosen by the test rows.

    Parameters
    ----------
    settings
        What to compare.
    folder
        Where finished runs are kept, one at a time: a study that was interrupted goes on from
        there. Created if need be.
    threads
        Networks to train at a time, `fastmlp.get_num_threads` of them by default. Meanwhile every
        other call of the library is on one thread too. The results do not depend on it.
    progress
        Called with the number of finished runs and of all runs, at the start and then a few times a
        second, in this thread; what it raises ends the study.

    Returns
    -------
    Results

    Raises
    ------
    SettingsError
        The folder holds a study with other settings; a share leaves too few positives; a loss
        diverges with every learning rate. A ValueError.
    ValueError
        A folder with files that no study has written.
    OSError
        A folder that cannot be written to, or is in use by another process.
    ModuleNotFoundError
        No scikit-learn.
    KeyboardInterrupt
        On Ctrl-C; finished runs are kept.
    """
    # Now, since threads that all import it first are in each other's way.
    scikit_learn()
    workers = get_num_threads() if threads is None else check_positive_int(threads, "threads")
    dataset = data.load(settings.data)
    assert settings.shares is not None
    for share in settings.shares:
        make_task(dataset, settings.digit, share, seed=0)
    losses = {contender.name: contender for contender in settings.contenders}
    cancel = _Cancel()

    def work(job: Job) -> Record:
        assert settings.hidden is not None
        assert settings.epochs is not None
        assert settings.batch_size is not None
        task = make_task(dataset, settings.digit, job.share, job.seed)
        return run_trial(
            task,
            losses[job.loss].make(task.share),
            hidden=settings.hidden,
            lr=job.lr,
            epochs=settings.epochs,
            batch_size=settings.batch_size,
            seed=job.seed,
            callbacks=[cancel],
        )

    with (
        Store(folder, settings) as store,
        one_thread(),
        ThreadPoolExecutor(workers) as pool,
    ):
        total = settings.n_jobs()

        def finish(jobs: Iterable[Job]) -> None:
            pending = {pool.submit(work, job): job for job in jobs if job not in store.records}
            while pending:
                done, _ = wait(pending, _POLL_SECONDS, FIRST_COMPLETED)
                for future in done:
                    store.add(pending.pop(future), future.result())
                if progress is not None:
                    progress(len(store.records), total)

        try:
            if progress is not None:
                progress(len(store.records), total)
            finish(settings.search_jobs())
            rates = choose_lrs(settings, store.records)
            finish(
                Job(share, loss, seed, rates[share, loss])
                for seed in range(settings.seeds)
                for share, loss in settings.cells()
            )
        except BaseException:
            cancel.event.set()
            pool.shutdown(cancel_futures=True)
            raise
        return Results(settings, list(store.records.values()))

"""Items that a thread of its own makes ahead of who uses them."""

import threading
from collections.abc import Generator, Iterator
from contextlib import closing, contextmanager
from queue import SimpleQueue
from typing import TypeVar

T = TypeVar("T")


@contextmanager
def read_ahead(items: Generator[T], ahead: int) -> Iterator[Iterator[T]]:
    """Make a context in which the items of a generator are made while earlier ones are used.

    What the generator raises comes, in its place, to who uses the items. With the context the
    thread ends, and the generator is closed.

    Parameters
    ----------
    ahead
        How many items may wait, besides the one in use; 0 makes them when they are asked for,
        without a thread.
    """
    if not ahead:
        with closing(items):
            yield items
        return
    ready: SimpleQueue[tuple[T] | BaseException | None] = SimpleQueue()
    room = threading.Semaphore(ahead)
    left = threading.Event()

    def work() -> None:
        try:
            with closing(items):
                while room.acquire() and not left.is_set():
                    ready.put((next(items),))
        except StopIteration:
            ready.put(None)
        except BaseException as error:
            ready.put(error)

    def use() -> Iterator[T]:
        while (found := ready.get()) is not None:
            if isinstance(found, BaseException):
                try:
                    raise found
                finally:
                    # Its traceback refers to this frame, a circle that would keep blocks in memory.
                    del found
            room.release()
            yield found[0]

    thread = threading.Thread(target=work, name="fastmlp-reader", daemon=True)
    thread.start()
    try:
        yield use()
    finally:
        left.set()
        room.release()
        thread.join()

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
    thread ends, and the generator is closed. No more than `ahead` + 1 items are in memory, the one
    that is being made included, where who uses an item drops it before asking for the next.

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
    room = threading.Semaphore(ahead + 1)
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
            yield found[0]
            found = None
            room.release()

    thread = threading.Thread(target=work, name="fastmlp-reader", daemon=True)
    try:
        thread.start()
        yield use()
    finally:
        left.set()
        room.release()
        # Ctrl-C within start() may leave a thread that cannot be joined yet; it ends by itself.
        if thread.is_alive():
            thread.join()

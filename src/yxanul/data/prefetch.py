"""The next batches are made while the present one is trained on."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterable, Iterator
from typing import TypeVar

Item = TypeVar("Item")

_LOOK_SECONDS = 0.1
_END = object()


class _Failure:
    def __init__(self, error: BaseException) -> None:
        self.error = error


def prefetched(items: Iterable[Item], depth: int = 2) -> Iterator[Item]:
    """Yield `items` in order while a thread makes up to `depth` of them ahead.

    An error in making them comes out here, at its place; closing the iterator ends the thread.
    """
    ready: queue.Queue[object] = queue.Queue(depth)
    closed = threading.Event()

    def put(value: object) -> None:
        while not closed.is_set():
            try:
                return ready.put(value, timeout=_LOOK_SECONDS)
            except queue.Full:
                continue

    def fill() -> None:
        try:
            for item in items:
                put(item)
                if closed.is_set():
                    return
            put(_END)
        except BaseException as error:
            put(_Failure(error))

    thread = threading.Thread(target=fill, daemon=True, name="prefetch")
    thread.start()
    try:
        while (value := ready.get()) is not _END:
            if isinstance(value, _Failure):
                raise value.error
            yield value  # type: ignore[misc]
    finally:
        closed.set()
        thread.join()

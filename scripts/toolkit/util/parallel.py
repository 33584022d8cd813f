"""Independent work in threads, which end together with the programs that they run."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from typing import TypeVar

from toolkit.util.process import allow_children, end_children

Item = TypeVar("Item")
Result = TypeVar("Result")


def cores() -> int:
    """Return how many processors this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def map_parallel(
    work: Callable[[Item], Result], items: Sequence[Item], *, jobs: int
) -> Iterator[tuple[Item, Result]]:
    """Yield each item with the result of ``work`` for it, as soon as that is there.

    At most ``jobs`` run at a time, in threads: the long steps are other programs. If one raises,
    or on Ctrl-C, the programs that run are ended and nothing further is begun.
    """
    if jobs <= 1 or len(items) <= 1:
        yield from ((item, work(item)) for item in items)
        return
    try:
        with ThreadPoolExecutor(jobs) as pool:
            futures = {pool.submit(work, item): item for item in items}
            try:
                for future in as_completed(futures):
                    yield futures[future], future.result()
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                end_children()
                raise
    finally:
        allow_children()

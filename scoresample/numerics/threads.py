"""Threads: things side by side, and linear algebra in one."""

import functools
import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import ParamSpec, TypeVar

import jax
from threadpoolctl import threadpool_limits

P = ParamSpec("P")
S = TypeVar("S")
T = TypeVar("T")

_ONE_AT_A_TIME = threading.RLock()


def own_cores() -> list[int]:
    """Return which cores this process may use; none where the system cannot tell."""
    return sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []


def num_cores() -> int:
    """Return how many cores this process may use."""
    return len(own_cores()) or os.cpu_count() or 1


def side_by_side(function: Callable[[S], T], items: list[S]) -> list[T]:
    """Return ``function(item)`` of each item, as many at a time as there are cores."""
    if len(items) < 2:
        return [function(item) for item in items]
    with ThreadPoolExecutor(min(len(items), num_cores())) as pool:
        return list(pool.map(lambda item: jax.block_until_ready(function(item)), items))


def in_one_thread(function: Callable[P, T]) -> Callable[P, T]:
    """Decorate a function whose numpy and scipy products and factorizations shall not start threads.

    Threads of the library behind them wait for each other in loops that hold the processor. On 2 cores beside other
    work, that of compiled code included, a factorization of 961 x 961 took up to 2 s, where one thread takes 0.02 s.
    """
    limited = threadpool_limits.wrap(limits=1, user_api="blas")(function)

    @functools.wraps(function)
    def alone(*args: P.args, **kwargs: P.kwargs) -> T:
        # The limit is of the whole process: of two threads, the one that leaves last would restore the other's limit.
        with _ONE_AT_A_TIME:
            return limited(*args, **kwargs)

    return alone

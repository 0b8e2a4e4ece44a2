"""Work on many scenes, one after the other or by several processes."""

import functools
import os
import pickle
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from multiprocessing import get_context
from typing import Any

import jax

from scoresample.errors import ConfigError
from scoresample.numerics.threads import num_cores, own_cores

_OF_THE_PROCESS = (
    "jax_enable_x64",
    "jax_compilation_cache_dir",
    "jax_persistent_cache_min_compile_time_secs",
)


def work_on(
    work: Callable[[Any, Any], Any], common: Any, items: Sequence[Any], workers: int | None
) -> Generator[Any, None, None]:
    """Give ``work(common, item)`` of every item, each when it is done.

    Parameters
    ----------
    work
        A function of a module.
    common
        What all items need; pickled once.
    items
        In the order in which they are begun.
    workers
        Processes; by default one for every core, or one on an accelerator.

    Raises
    ------
    ConfigError
        If a process ended by itself.
    """
    if workers is None:
        workers = num_cores() if jax.default_backend() == "cpu" else 1
    workers = min(workers, len(items))
    if workers <= 1:
        for item in items:
            yield work(common, item)
        return
    packed = pickle.dumps(common)
    process = {name: getattr(jax.config, name) for name in _OF_THE_PROCESS}
    # Fresh processes: a fork of one in which jax has threads may hang.
    context = get_context("spawn")
    begun = context.Value("i", 0)
    pool = ProcessPoolExecutor(
        workers, context, initializer=_configure, initargs=(process, begun, shares_of_cores(workers))
    )
    try:
        futures = [pool.submit(work_packed, work, packed, item) for item in items]
        for future in as_completed(futures):
            yield future.result()
    except BrokenProcessPool:
        raise ConfigError(
            "a worker process ended by itself: too little memory, or a script without if __name__ == '__main__'; give "
            "fewer workers. What was finished is kept."
        ) from None
    finally:
        pool.shutdown(cancel_futures=True)


def work_packed(work: Callable[[Any, Any], Any], packed: bytes, item: Any) -> Any:
    """Do in a worker what was packed for it."""
    return work(_unpacked(packed), item)


@functools.lru_cache(maxsize=1)
def _unpacked(packed: bytes) -> Any:
    """Return the same objects for all scenes of a process: compiled code knows some of them by identity."""
    return pickle.loads(packed)


def shares_of_cores(workers: int) -> list[set[int]]:
    """Return which cores each worker is to keep to, all of them used; none where the system cannot tell."""
    cores = own_cores()
    return [set(cores[k % len(cores) :: workers]) for k in range(workers)] if cores else []


def _configure(process: dict[str, Any], begun: Any, shares: list[set[int]]) -> None:
    """Set up a worker as its parent is, on cores of its own; environment variables it has already."""
    for name, value in process.items():
        jax.config.update(name, value)
    with begun.get_lock():
        number, begun.value = begun.value, begun.value + 1
    if shares:
        keep_to(shares[number % len(shares)])


def keep_to(cores: set[int]) -> None:
    """Keep this process to some cores: all of its threads, those of XLA as well, which may have begun at an import."""
    tasks = "/proc/self/task"
    for thread in map(int, os.listdir(tasks)) if os.path.isdir(tasks) else (0,):
        with suppress(ProcessLookupError):  # a thread that has ended meanwhile
            os.sched_setaffinity(thread, cores)

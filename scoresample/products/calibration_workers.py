"""Scenes of a calibration, simulated one after the other or by several processes, and each kept when it is done."""

import functools
import os
import pickle
from collections.abc import Generator
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import Float

from scoresample.density.posterior import Posterior
from scoresample.errors import ConfigError, is_failure, one_line
from scoresample.products.archive import save_report
from scoresample.products.calibration_files import scene_file
from scoresample.products.calibration_scene import calibrate_scene
from scoresample.products.pipeline_settings import RunSettings

_OF_THE_PROCESS = (
    "jax_enable_x64",
    "jax_compilation_cache_dir",
    "jax_persistent_cache_min_compile_time_secs",
)


class Task(NamedTuple):
    """What all scenes of a calibration have in common: the arguments of `calibrate_scene` after the key."""

    model: Posterior
    settings: RunSettings
    least: Float[np.ndarray, " source"]
    truth_from: Posterior


def simulate_scenes(
    task: Task, folder: Path, missing: list[int], workers: int | None
) -> Generator[int, None, None]:
    """Simulate scenes and keep them, by this process or by several; give each number when it is done."""
    if workers is None:
        workers = (os.cpu_count() or 1) if jax.default_backend() == "cpu" else 1
    workers = min(workers, len(missing))
    if workers <= 1:
        for number in missing:
            yield _keep(task, folder, number)
        return
    packed = pickle.dumps(task)
    process = {name: getattr(jax.config, name) for name in _OF_THE_PROCESS}
    # Fresh processes: a fork of one in which jax has threads may hang.
    pool = ProcessPoolExecutor(workers, get_context("spawn"), initializer=_configure, initargs=(process,))
    try:
        futures = [pool.submit(_keep_packed, packed, folder, number) for number in missing]
        for future in as_completed(futures):
            yield future.result()
    except BrokenProcessPool:
        raise ConfigError(
            "a worker process ended by itself: too little memory, or a script without if __name__ == '__main__'; give "
            "fewer workers. What was finished is kept."
        ) from None
    finally:
        pool.shutdown(cancel_futures=True)


def _keep(task: Task, folder: Path, number: int) -> int:
    """Simulate a scene and write what is kept of it; one that fails has a status that says why."""
    key = jax.random.fold_in(jax.random.key(task.settings.seed), number)
    try:
        found = calibrate_scene(key, *task)
    except Exception as error:
        if not is_failure(error):
            raise
        found = {"status": f"failed: {one_line(error)}", "ess": None, "fluxes": [], "others": {}}
    save_report(scene_file(folder, number), {"scene": number} | found)
    return number


def _keep_packed(packed: bytes, folder: Path, number: int) -> int:
    return _keep(_unpacked(packed), folder, number)


@functools.lru_cache(maxsize=1)
def _unpacked(packed: bytes) -> Task:
    """Return the same objects for all scenes of a process: compiled code knows some of them by identity."""
    return pickle.loads(packed)


def _configure(process: dict[str, Any]) -> None:
    """Set up a worker as its parent is; environment variables it has already."""
    for name, value in process.items():
        jax.config.update(name, value)

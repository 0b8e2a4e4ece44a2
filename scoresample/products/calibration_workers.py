"""Scenes of a calibration, simulated by one process or by several, and each kept when it is done."""

from collections.abc import Generator
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np
from jaxtyping import Float

from scoresample.density.posterior import Posterior
from scoresample.errors import FAILED, is_failure, one_line
from scoresample.products.archive import save_report
from scoresample.products.calibration_files import scene_file
from scoresample.products.calibration_scene import calibrate_scene
from scoresample.products.pipeline_settings import RunSettings
from scoresample.products.workers import work_on


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
    yield from work_on(keep_scene, (task, folder), missing, workers)


def keep_scene(common: tuple[Task, Path], number: int) -> int:
    """Simulate a scene and write what is kept of it; one that fails has a status that says why."""
    task, folder = common
    key = jax.random.fold_in(jax.random.key(task.settings.seed), number)
    try:
        found = calibrate_scene(key, *task)
    except Exception as error:
        if not is_failure(error):
            raise
        found = {"status": f"{FAILED}{one_line(error)}", "ess": None, "fluxes": [], "others": {}}
    save_report(scene_file(folder, number), {"scene": number} | found)
    return number

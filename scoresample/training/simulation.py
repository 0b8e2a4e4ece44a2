"""Draw the galaxies of a training set, by several processes."""

import importlib.metadata
import os
from collections.abc import Callable, Mapping
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context

import numpy as np
from jaxtyping import Int16
from tqdm import tqdm

from scoresample.errors import ConfigError
from scoresample.models.morphology import COORDINATE_SCALE
from scoresample.training.dataset import TrainingSet, as_steps
from scoresample.training.galaxies import simulate_galaxy, simulate_in_ring_box, simulate_ztf_like

POPULATIONS: dict[str, Callable] = {
    "general": simulate_galaxy,
    "ring-boxes": simulate_in_ring_box,
    "ztf-like": simulate_ztf_like,
}
_GENERAL = {
    16: 8_000,
    17: 12_000,
    21: 12_000,
    24: 10_000,
    25: 15_000,
    32: 20_000,
    35: 15_000,
    44: 6_000,
    49: 15_000,
    64: 12_000,
    69: 6_000,
    88: 2_000,
    97: 4_000,
    127: 3_000,
    128: 2_000,
}
COUNTS = {
    "general": _GENERAL,
    "ring-boxes": _GENERAL,
    "ztf-like": {17: 3_000, 21: 3_000, 25: 3_000, 32: 10_000, 49: 3_000, 64: 10_000, 97: 500, 128: 500},
}
"""Galaxies of each box size. Those in larger boxes have more pixels to learn from, and take longer to draw.

Sides are odd, with the center on a pixel, and even, with the center between pixels."""

_TASK = 100  # galaxies drawn at a time by one process


def simulate_training_set(
    population: str = "general",
    seed: int = 1,
    share: float = 1.0,
    *,
    counts: Mapping[int, int] | None = None,
    workers: int | None = None,
    progress: bool = True,
) -> TrainingSet:
    """Draw the galaxies of a training set; the same population, seed and share give the same galaxies.

    Parameters
    ----------
    population
        ``general``; ``ring-boxes``, the same in boxes that misjudge sizes as those of scenes do; or ``ztf-like``.
    seed
        Of all of them. Each galaxy has a stream of its own, so that the number of processes changes nothing and a
        smaller share is the beginning of a larger one.
    share
        Of the number of galaxies.
    counts
        Galaxies of each side; by default `COUNTS`.
    workers
        Processes; by default one for every core.
    progress
        Whether to show a bar.

    Raises
    ------
    ConfigError
        If the population is unknown or the share leaves a box size without galaxies.
    """
    if population not in POPULATIONS:
        raise ConfigError(f"population is {population!r}; choose one of {', '.join(POPULATIONS)}.")
    counts = {side: round(share * n) for side, n in (counts or COUNTS[population]).items()}
    if min(counts.values()) < 1:
        raise ConfigError(
            f"share is {share:g}, which leaves {min(counts.values())} galaxies in a box; give more."
        )
    images = {side: np.zeros((count, side, side), np.int16) for side, count in counts.items()}
    tasks = [
        (population, seed, side, first, min(_TASK, count - first))
        for side, count in counts.items()
        for first in range(0, count, _TASK)
    ]
    # Fresh processes: a fork of one in which jax has threads may hang.
    with (
        tqdm(total=sum(counts.values()), desc="galaxies", disable=not progress) as bar,
        ProcessPoolExecutor(workers or os.cpu_count(), mp_context=get_context("spawn")) as pool,
    ):
        futures = {pool.submit(_draw, *task): task for task in tasks}
        for future in as_completed(futures):
            _, _, side, first, count = futures[future]
            images[side][first : first + count] = future.result()
            bar.update(count)
    versions = {name: importlib.metadata.version(name) for name in ("galsim", "numpy", "scipy")}
    card = {"population": population, "seed": seed, "counts": counts, "versions": versions}
    return TrainingSet(images, card)


def _draw(
    population: str, seed: int, side: int, first: int, count: int
) -> Int16[np.ndarray, "galaxy side side"]:
    """Draw some galaxies of one box size."""
    simulate = POPULATIONS[population]
    streams = (np.random.SeedSequence([seed, side, index]) for index in range(first, first + count))
    drawn = [simulate(np.random.default_rng(stream), side) for stream in streams]
    return as_steps(np.log1p(np.stack(drawn)) / COORDINATE_SCALE)

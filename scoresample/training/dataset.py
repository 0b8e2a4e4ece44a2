"""Training sets: simulated galaxies of several box sizes in one file."""

import importlib.metadata
import json
import os
import zipfile
from collections.abc import Callable, Mapping
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Int16
from tqdm import tqdm

from scoresample.errors import ConfigError, DataError, FileFormatError, one_line
from scoresample.numerics.files import replacing
from scoresample.training.galaxies import simulate_galaxy, simulate_ztf_like

STEPS_PER_UNIT = 2048
"""Images u are kept as whole numbers of this fraction, up to 16: rounding of 0.00014, far below any noise level."""

POPULATIONS: dict[str, Callable] = {"general": simulate_galaxy, "ztf-like": simulate_ztf_like}
COUNTS = {
    "general": {24: 30_000, 32: 30_000, 48: 20_000, 64: 14_000, 96: 6_000, 128: 4_000},
    "ztf-like": {32: 10_000, 64: 10_000},
}
"""Galaxies of each box size. Those in larger boxes have more pixels to learn from, and take longer to draw."""

_TASK = 100  # galaxies drawn at a time by one process


class TrainingSet(NamedTuple):
    """Galaxies by the side of their box, as images u, and where they come from.

    Attributes
    ----------
    images
        u times `STEPS_PER_UNIT`, by side.
    card
        Population, seed, counts and versions.
    """

    images: dict[int, Int16[np.ndarray, "galaxy side side"]]
    card: dict[str, Any]

    def coordinates(self, side: int, which=slice(None)) -> Float[np.ndarray, "galaxy side side"]:
        """Return images u of one box size."""
        return self.images[side][which].astype(np.float32) / STEPS_PER_UNIT


def simulate_training_set(
    population: str = "general",
    seed: int = 1,
    share: float = 1.0,
    *,
    workers: int | None = None,
    progress: bool = True,
) -> TrainingSet:
    """Draw the galaxies of a training set; the same population, seed and share give the same galaxies.

    Parameters
    ----------
    population
        ``general`` or ``ztf-like``.
    seed
        Of all of them. Each galaxy has a stream of its own, so that the number of processes changes nothing and a
        smaller share is the beginning of a larger one.
    share
        Of the usual `COUNTS`.
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
    counts = {side: round(share * count) for side, count in COUNTS[population].items()}
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


def as_steps(u: Float[np.ndarray, "*s"]) -> Int16[np.ndarray, "*s"]:
    """Return images u in the form that they are kept in."""
    limits = np.iinfo(np.int16)
    return np.clip(np.round(np.asarray(u) * STEPS_PER_UNIT), limits.min, limits.max).astype(np.int16)


def _draw(
    population: str, seed: int, side: int, first: int, count: int
) -> Int16[np.ndarray, "galaxy side side"]:
    """Draw some galaxies of one box size."""
    simulate = POPULATIONS[population]
    streams = (np.random.SeedSequence([seed, side, index]) for index in range(first, first + count))
    drawn = [simulate(np.random.default_rng(stream), side) for stream in streams]
    return as_steps(np.log1p(np.stack(drawn)) / 0.1)


def write_training_set(path: str | Path, training_set: TrainingSet) -> None:
    """Write a training set as ``.npz``, under a temporary name first."""
    arrays = {f"side_{side}": images for side, images in training_set.images.items()}
    with replacing(path) as temporary, open(temporary, "wb") as file:
        np.savez(file, card=np.frombuffer(json.dumps(training_set.card).encode(), np.uint8), **arrays)


def read_training_set(path: str | Path) -> TrainingSet:
    """Read what `write_training_set` wrote.

    Raises
    ------
    FileFormatError
        If the file is none of these, or is truncated.
    """
    path = Path(path)
    try:
        with open(path, "rb") as file, np.load(file, allow_pickle=False) as archive:
            card = json.loads(archive["card"].tobytes())
            names = [name for name in archive.files if name.startswith("side_")]
            images = {int(name.removeprefix("side_")): archive[name] for name in names}
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise FileFormatError(
            f"{path.name} cannot be read as a training set ({one_line(error)[:80]}); make one with "
            "'scoresample simulate', or read your own images with read_cutouts."
        ) from None
    return TrainingSet(check_images(images, path.name), card)


def check_images(
    images: Mapping[int, np.ndarray], source: str
) -> dict[int, Int16[np.ndarray, "galaxy side side"]]:
    """Return images by side, or raise `DataError` where they do not have it, or not the form they are kept in."""
    if not images:
        raise DataError(f"{source} has no images.")
    for side, stack in images.items():
        if stack.dtype != np.int16 or stack.ndim != 3 or stack.shape[1:] != (side, side):
            raise DataError(
                f"{source}: images of side {side} have shape {stack.shape} and type {stack.dtype}; needed "
                f"(galaxy, {side}, {side}) of int16."
            )
    return dict(images)

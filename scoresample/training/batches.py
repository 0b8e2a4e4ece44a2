"""Batches of training: galaxies of one padded size, cut to boxes of many sizes, turned, and blurred by noise."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from scoresample.models.galaxy_box import GalaxyBox, galaxy_box, padded_side
from scoresample.models.learned_prior import SIDES, TRAINED_LEVELS
from scoresample.models.radial_tables import RadialTables
from scoresample.training.dataset import TrainingSet

BATCH = 32
"""Galaxies of 32 pixels a side in a batch; of other sides as many as have those pixels, 2 of 128."""

HELD_OUT = 0.1
"""The last part of the galaxies of each side is never trained on."""

NOISE_MEAN, NOISE_SPREAD = -1.0, 1.7
"""Of the logarithm of the noise levels, most of which are normal; see `draw_noise_levels`."""
EVEN_SHARE = 0.1

_SMALLEST_CUT = 0.7


class Batch(NamedTuple):
    """Images without noise in padded squares, their box, and what noise to add."""

    images: Float[np.ndarray, "galaxy side side"]
    box: GalaxyBox
    noise_levels: Float[np.ndarray, " galaxy"]
    noise: Float[np.ndarray, "galaxy side side"]


def draw_batch(
    training_set: TrainingSet, tables: RadialTables, seed: int, step: int, batch: int = BATCH
) -> Batch:
    """Return the batch of one step of training; the same seed, step and size give the same one.

    A side is drawn by how many galaxies it has, times its length, then galaxies of it. Half of the batches are cut, by
    whole pixels on every side alike, so that centers stay in the middle, down to 0.7 of the side; all galaxies are
    turned and mirrored.
    """
    rng = np.random.default_rng([seed, step])
    sides = sorted(training_set.images)
    weights = np.array([num_training(training_set, side) * side for side in sides], float)
    side = int(rng.choice(sides, p=weights / weights.sum()))
    # Of the padded side before the cut, so that there are not many more shapes to compile than sides.
    padded = padded_side(side)
    size = batch_size(padded, batch)
    which = rng.integers(num_training(training_set, side), size=size)
    smallest = min(max(SIDES[0], _SMALLEST_CUT * side), side)
    cut = int(rng.integers(int((side - smallest) // 2) + 1)) if rng.random() < 0.5 else 0
    box = galaxy_box(tables, (side - 2 * cut, side - 2 * cut), (padded, padded))
    images = np.zeros((size, padded, padded), np.float32)
    for image, u in zip(images, training_set.coordinates(side, which), strict=True):
        image[: side - 2 * cut, : side - 2 * cut] = turned(u, rng)[cut : side - cut, cut : side - cut]
    noise = rng.normal(size=images.shape).astype(np.float32) * np.asarray(box.mask)
    return Batch(images, box, draw_noise_levels(rng, size), noise)


def batch_size(padded: int, batch: int) -> int:
    """Return how many galaxies of a padded side have the pixels of a batch."""
    return max(batch * 32**2 // padded**2, 1)


def draw_noise_levels(rng: np.random.Generator, size: int) -> Float[np.ndarray, " galaxy"]:
    """Return noise levels: log-normal, clipped, and one in ten with an even distribution of the logarithm.

    Wider and lower than in Karras et al. (2022), arXiv:2206.00364, table 1, since a prior is used at small ones. Draws
    begin at the largest, where the network has to know the mean image to better than the scatter of galaxies.
    """
    normal = np.clip(rng.normal(NOISE_MEAN, NOISE_SPREAD, size), *np.log(TRAINED_LEVELS))
    even = rng.uniform(*np.log(TRAINED_LEVELS), size)
    return np.exp(np.where(rng.random(size) < EVEN_SHARE, even, normal)).astype(np.float32)


def num_training(training_set: TrainingSet, side: int) -> int:
    """Return how many galaxies of a side are there to train on: the first of them."""
    count = len(training_set.images[side])
    return count - int(HELD_OUT * count)


def held_out(training_set: TrainingSet, side: int, at_most: int | None = None) -> Float[np.ndarray, "n y x"]:
    """Return images u of a side that training never sees."""
    return training_set.coordinates(side, slice(num_training(training_set, side), None))[:at_most]


def turned(u: Float[np.ndarray, "y x"], rng: np.random.Generator) -> Float[np.ndarray, "y x"]:
    """Return an image in one of its eight orientations."""
    rotated = np.rot90(u, int(rng.integers(4)))
    return rotated.T if rng.random() < 0.5 else rotated

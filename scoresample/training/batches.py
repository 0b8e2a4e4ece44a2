"""Batches of training: galaxies of one padded size, cut to boxes of many sizes, turned, and blurred by noise."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from scoresample.models.energy_network import padded_side
from scoresample.models.learned_prior import SIDES, TRAINED_LEVELS
from scoresample.training.dataset import TrainingSet

PIXELS = 32 * 32**2
"""Of a batch: 32 galaxies of 32 pixels a side, 2 of 128."""

HELD_OUT = 0.1
"""The last part of the galaxies of each side is never trained on."""

NOISE_MEAN, NOISE_SPREAD = -1.0, 1.7
"""Of the logarithm of the noise levels, most of which are normal; see `draw_noise_levels`."""
EVEN_SHARE = 0.1

_SMALLEST_CUT = 0.7


class Batch(NamedTuple):
    """Images without noise in padded squares, which pixels are the box, and what noise to add."""

    images: Float[np.ndarray, "galaxy side side"]
    masks: Float[np.ndarray, "galaxy side side"]
    noise_levels: Float[np.ndarray, " galaxy"]
    noise: Float[np.ndarray, "galaxy side side"]


def draw_batch(training_set: TrainingSet, seed: int, step: int) -> Batch:
    """Return the batch of one step of training; the same seed and step give the same one.

    A side is drawn by how many galaxies it has, times its length, then galaxies of it. Half of them are cut, by whole
    pixels on every side alike, so that centers stay in the middle, down to 0.7 of the side; all are turned and
    mirrored. Boxes lie in the first corner of the padded square, where `LearnedPrior` puts them.
    """
    rng = np.random.default_rng([seed, step])
    sides = sorted(training_set.images)
    weights = np.array([num_training(training_set, side) * side for side in sides], float)
    side = int(rng.choice(sides, p=weights / weights.sum()))
    padded = padded_side(side)
    size = max(PIXELS // padded**2, 1)
    which = rng.integers(num_training(training_set, side), size=size)
    smallest = min(max(SIDES[0], _SMALLEST_CUT * side), side)
    cuts = np.where(rng.random(size) < 0.5, rng.integers(int((side - smallest) // 2) + 1, size=size), 0)
    images = np.zeros((size, padded, padded), np.float32)
    masks = np.zeros_like(images)
    turned = (_turn(u, rng) for u in training_set.coordinates(side, which))
    for image, mask, u, cut in zip(images, masks, turned, cuts, strict=True):
        inside, box = slice(cut, side - cut), slice(side - 2 * cut)
        image[box, box] = u[inside, inside]
        mask[box, box] = 1
    noise = rng.normal(size=images.shape).astype(np.float32) * masks
    return Batch(images, masks, draw_noise_levels(rng, size), noise)


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


def _turn(u: Float[np.ndarray, "y x"], rng: np.random.Generator) -> Float[np.ndarray, "y x"]:
    """Return an image in one of its eight orientations."""
    turned = np.rot90(u, int(rng.integers(4)))
    return turned.T if rng.random() < 0.5 else turned

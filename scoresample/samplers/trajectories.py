"""How long trajectories have to be for what mixes slowest, measured in warm-up."""

import jax
import numpy as np
from jaxtyping import Float

LENGTHS = (1 / 3, 5 / 3)
"""Lengths of trajectories are uniform between these, in units of their mean."""

SPREAD = 1 + (LENGTHS[1] - LENGTHS[0]) ** 2 / 12
"""Mean square of such a length."""

LENGTH_PER_WIDTH = 1.6
"""Mean length of trajectories, for a direction of width 1: the mean of the cosine of such lengths is 0 there."""

LAGS = (1, 2, 4)
"""Steps over which mixing is measured."""

SLOW = 0.5
"""Autocorrelation that asks for longer trajectories."""


def flat_positions(positions) -> Float[np.ndarray, "step chain n"]:
    """Return positions, a tree with axes (step, chain, ...), as one array."""
    leaves = [np.asarray(leaf) for leaf in jax.tree.leaves(positions)]
    return np.concatenate([leaf.reshape(*leaf.shape[:2], -1) for leaf in leaves], axis=-1)


def stretch_of(positions: Float[np.ndarray, "step chain n"], most: float) -> float:
    r"""Return by how much trajectories are to be longer than those that made some positions along chains.

    Of a coordinate that is :math:`s` times wider than whitening has it, the next position is on average
    :math:`\overline{\cos(l / s)} \approx 1 - \overline{l^2} / 2 s^2` times this one: far less than a step of its width,
    in any direction, so that chains diffuse, and their effective draws grow as the square of the length that is paid
    for. The autocorrelation over k steps about the mean of all chains, :math:`r_k`, has the next as
    :math:`r_k^{1/k}`; the slowest part of a coordinate is told by larger k. The longest of `LAGS` counts, over all
    coordinates, of those above `SLOW`. By chance, at 4 chains of 50 steps, the largest of 10,000 is 0.3.

    Parameters
    ----------
    positions
        Of successive steps.
    most
        The most that is returned; the least is 1.
    """
    centered = positions - positions.mean(axis=(0, 1), dtype=float)
    square = np.mean(centered**2, axis=(0, 1))
    moving = square > 0
    chains = [_without_repeats(centered[:, chain]) for chain in range(centered.shape[1])]
    stretch = 1.0
    for lag in (lag for lag in LAGS if moving.any()):
        pairs = sum(max(len(chain) - lag, 0) for chain in chains)
        if pairs == 0:
            break
        product = (
            sum(np.sum(chain[lag:] * chain[:-lag], axis=0) for chain in chains if len(chain) > lag) / pairs
        )
        largest = float(np.max(product[moving] / square[moving]))
        if largest > SLOW:
            after_one = min(largest, 1 - 1e-6) ** (1 / lag)
            stretch = max(stretch, LENGTH_PER_WIDTH * np.sqrt(SPREAD / (2 * (1 - after_one))))
    return float(min(stretch, most))


def _without_repeats(chain: Float[np.ndarray, "step n"]) -> Float[np.ndarray, "move n"]:
    """Return the positions that a chain went to: a step that was refused tells nothing of how far trajectories go."""
    moved = np.any(chain[1:] != chain[:-1], axis=1)
    return chain[np.append(True, moved)]

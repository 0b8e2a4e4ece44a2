"""Why a run ends before all its draws are there: time, numbers that are not finite, chains that do not move."""

import time
from typing import Any

import jax
import numpy as np
from jaxtyping import Int

from scoresample.errors import ConfigError

PATIENCE = 100
"""Steps without a single move before a chain counts as stuck: at an acceptance of 0.2, one in 5e9 such stretches."""

SMALLEST_STEP = 1e-4
"""In whitened coordinates, where a posterior is of order one: what takes smaller steps gets nowhere."""


class RunEnded(Exception):
    """Ends a run where it is; the message is its status, and the draws so far are kept."""


class Deadline:
    """The time that a run may take.

    Parameters
    ----------
    max_seconds
        From now on; None for any time.

    Raises
    ------
    ConfigError
        If it is negative.
    """

    def __init__(self, max_seconds: float | None):
        if max_seconds is not None and not max_seconds >= 0:
            raise ConfigError(f"max_seconds is {max_seconds}; it must be 0 or more, or None for any time.")
        self.max_seconds = max_seconds
        self.begun = time.perf_counter()

    @property
    def seconds_left(self) -> float | None:
        """What is left of the time, 0 when it is over; None for any time."""
        if self.max_seconds is None:
            return None
        return max(0.0, self.begun + self.max_seconds - time.perf_counter())

    def check(self, done: str) -> None:
        """Raise `RunEnded` when the time is over; ``done`` says how far the run came."""
        if self.max_seconds is not None and time.perf_counter() - self.begun >= self.max_seconds:
            raise RunEnded(f"out of time: {self.max_seconds:.3g} s were over after {done}")


def check_finite(states: Any, when: str) -> None:
    """Raise `RunEnded` if a chain is where its log density is no number, or its score is not finite.

    Nothing leads away from there: every trajectory has an energy that is no number, and is refused. A log density of
    minus infinity may be left for any place that has one.
    """
    value = np.asarray(states.logdensity)
    lost = np.isnan(value) | np.isposinf(value)
    for leaf in jax.tree.leaves(states.logdensity_grad):
        lost |= ~np.isfinite(np.asarray(leaf)).reshape(len(lost), -1).all(axis=1)
    if lost.any():
        raise RunEnded(
            f"stopped: the log density or its score is not finite where {_chains(lost)} {when}; a network or a "
            "likelihood gives NaN or infinity there"
        )


def check_step_size(step_size: float) -> None:
    """Raise `RunEnded` if warm-up ends with steps, in whitened coordinates, that lead nowhere."""
    if not step_size >= SMALLEST_STEP:
        raise RunEnded(
            f"stopped: the step size collapsed to {step_size:.1e} in coordinates of order one; the score may not be "
            "that of the density, or be rough at that scale"
        )


def check_moves(
    still: Int[np.ndarray, " chain"], positions: Any, step_size: float
) -> Int[np.ndarray, " chain"]:
    """Return for how many steps each chain has been where it is; raise `RunEnded` where they are `PATIENCE`.

    Where a density is a number at one point alone, step sizes shrink until they are lost in rounding.

    Parameters
    ----------
    still
        The steps without a move so far.
    positions
        Of more steps, a tree with axes (step, chain, ...).
    step_size
        Now, for the reason.
    """
    leaves = [np.asarray(leaf) for leaf in jax.tree.leaves(positions)]
    num_steps, num_chains = leaves[0].shape[:2]
    moved = np.zeros(num_chains, bool)
    for leaf in leaves:
        moved |= (leaf != leaf[-1]).reshape(num_steps, num_chains, -1).any(axis=(0, 2))
    still = np.where(moved, 0, still + num_steps)
    stuck = still >= PATIENCE
    if stuck.any():
        raise RunEnded(
            f"stopped: {_chains(stuck)} did not move for {PATIENCE} steps, at a step size of {step_size:.1e}; the "
            "density or its score may not be finite around there"
        )
    return still


def _chains(which: np.ndarray) -> str:
    """Return the numbers of the chains that are marked, in words."""
    numbers = [str(number) for number in np.flatnonzero(which)]
    if len(numbers) == 1:
        return f"chain {numbers[0]}"
    return f"chains {', '.join(numbers[:-1])} and {numbers[-1]}"

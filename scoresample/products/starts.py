"""Starts of chains that could lie in different modes of a scene."""

from typing import NamedTuple

import equinox as eqx
import jax
import numpy as np
from jaxtyping import Array, Bool, Float, PRNGKeyArray

from scoresample.density.base import Position
from scoresample.density.posterior import Posterior
from scoresample.errors import ScoreOnlyError
from scoresample.models.priors_numpyro import FlatPrior
from scoresample.samplers.endings import Deadline
from scoresample.samplers.optimize import find_map

WITHIN = 10.0
MAX_STEPS = 200
_TOLERANCE = 0.05


class Starts(NamedTuple):
    """Where chains begin, from `dispersed_starts`.

    Attributes
    ----------
    positions
        One for each chain, as `sample` takes them; the first is the best known one.
    below
        How far, in nats, the log density that each climb came to is below that of the best: 0 for the first, NaN
        where there was no time for a climb.
    kept
        Whether a climb is where its chain begins; where it is not, the chain begins at the best.
    """

    positions: list[Position]
    below: Float[np.ndarray, " chain"]
    kept: Bool[np.ndarray, " chain"]


def dispersed_starts(
    key: PRNGKeyArray,
    posterior: Posterior,
    best: Position,
    num_chains: int = 4,
    *,
    within: float = WITHIN,
    max_steps: int = MAX_STEPS,
    max_seconds: float | None = None,
    progress: bool = False,
) -> Starts:
    """Return starts for chains that R-hat can tell several modes from.

    Chains that all begin around one maximum agree with each other on that mode, however much mass there is in others.
    Here only the first begins there. For each other one all free parameters are drawn from their priors, galaxy
    images included, and climb to the data (`find_map`; under a learned prior, first with the Gaussian one). Where a
    scene has one mode, climbs end at the same maximum: the draws are then those that a single start gives, later by the
    time for the climbs. Where who owns the light has several answers, some climbs end at other ones. (Moving shares of
    the light that two galaxies have in common is no such start: within one mode flux is traded almost freely, and
    climbs undo it.)

    A start far below the best is of no use: its mode has next to no mass, but chains cannot leave it, and R-hat would
    say so for ever. So climbs are kept that end ``within`` so many nats of the best. By default 10: at equal width such
    a mode has 5e-5 of the mass, while the widths of modes, and what a climb leaves undone, are worth some nats.

    Parameters
    ----------
    key
        For the draws of the priors.
    posterior
        Of a scene.
    best
        Position of `find_map`.
    num_chains
        How many starts.
    within
        In nats of the log density that is sampled, fluxes integrated out.
    max_steps
        Of each climb.
    max_seconds
        For all climbs; chains that time is too short for begin at the best. None for any time.
    progress
        Whether to show bars.

    Returns
    -------
    The starts, and how far each climb came: ``sample(key, posterior, start=starts.positions)``. Fluxes that are sampled
    under a flat prior begin at their best value.

    Raises
    ------
    ScoreOnlyError
        For a prior that is known by its score alone: it has no draws, and no values to compare.
    KeyboardInterrupt
        After Ctrl-C, between two pieces of a climb.
    """
    _check(posterior)
    posterior.check_position(best)
    deadline, compiled = Deadline(max_seconds), posterior.for_compilation()
    easier = posterior.easier()
    reference = float(_log_prob(compiled, best))
    positions, below = [best], [0.0]
    for key_chain in jax.random.split(key, max(num_chains - 1, 0)):
        position, distance = best, np.nan
        if deadline.seconds_left != 0:
            settings = {"max_steps": max_steps, "tolerance": _TOLERANCE, "progress": progress}
            first = posterior if easier is None else easier
            begin = _draw(key_chain, first, best)
            climb = find_map(first, begin, max_seconds=deadline.seconds_left, **settings)
            if first is easier and climb.status in ("converged", "max_steps"):
                climb = find_map(posterior, climb.position, max_seconds=deadline.seconds_left, **settings)
            if climb.status == "interrupted":
                raise KeyboardInterrupt
            if climb.status != "out of time":
                position = climb.position
                distance = reference - float(_log_prob(compiled, position))
        positions.append(position)
        below.append(distance)
    kept = np.asarray(below) <= within  # not where it is NaN
    positions = [position if good else best for position, good in zip(positions, kept, strict=True)]
    return Starts(positions, np.asarray(below), kept)


def _check(posterior: Posterior) -> None:
    """Raise `ScoreOnlyError` for a posterior with a prior that has no draws."""
    for parameter in posterior.parameters:
        if not parameter.has_log_prob:
            raise ScoreOnlyError(
                f"dispersed starts are drawn from the prior, but {parameter.name!r} has prior "
                f"{parameter.prior.name!r}, which is known by its score alone; begin at the MAP instead."
            )


def _draw(key: PRNGKeyArray, posterior: Posterior, best: Position) -> Position:
    """Return a position drawn from the priors; that of a flat prior stays as it is."""
    position = {}
    for key_one, parameter in zip(
        jax.random.split(key, len(posterior.parameters)), posterior.parameters, strict=True
    ):
        old = best[parameter.name]
        if isinstance(parameter.prior, FlatPrior):
            position[parameter.name] = old
            continue
        value = parameter.prior.sample(key_one, parameter.shape, 1)[0]
        position[parameter.name] = parameter.unconstrain(value).astype(old.dtype)
    return position


@eqx.filter_jit
def _log_prob(posterior: Posterior, position: Position) -> Float[Array, ""]:
    return posterior.log_prob(position)

"""What all samplers share: their settings, their state, their result."""

import abc
from typing import Any, NamedTuple

import equinox as eqx
import numpy as np
from jaxtyping import Array, Float, Int, PRNGKeyArray

from scoresample.density.base import AbstractDensity, Position
from scoresample.samplers.energies import AbstractTarget
from scoresample.samplers.integrators import Integrator
from scoresample.samplers.whitening import Whitening


class Draws(NamedTuple):
    """Posterior draws and how they came about.

    Attributes
    ----------
    position
        Unconstrained parameters; leaves (chain, draw, ...).
    derived
        What the density derives from a position; for posteriors ``flux`` (chain, draw, object, band) and
        ``background`` (chain, draw, band), each an exact draw given the position.
    stats
        Per draw, (chain, draw): ``log_prob``, ``acceptance_rate``, ``diverging``, ``energy``, and
        ``num_steps``, the scores along the trajectory (without those of quadratures).
    status
        ``done``, ``interrupted``, or why the run ended early.
    settings
        Plain values: sampler, sizes, seed, adapted step size, seconds, versions; ``unadjusted``, whether nothing
        accepted or rejected the draws, so that they carry the bias of their step size.
    density
        What was sampled.
    """

    position: Position
    derived: dict[str, Array]
    stats: dict[str, Array]
    status: str
    settings: dict[str, Any]
    density: AbstractDensity


class Tuning(NamedTuple):
    """What warm-up finds: the step size and the diagonal of the inverse mass matrix.

    ``max_scores`` keeps trajectories short during warm-up, where the step size may still be far too small for them.
    ``stretch`` multiplies the length of trajectories.
    """

    step_size: Float[Array, ""]
    inverse_mass: Float[Array, " n"]
    max_scores: Int[Array, ""]
    stretch: Float[Array, ""]


class AbstractSampler(eqx.Module):
    """Settings of a sampler."""

    @property
    def name(self) -> str:
        """Name of the sampler, as shown and stored."""
        return type(self).__name__

    @property
    def unadjusted(self) -> bool:
        """Whether draws carry the bias of a step size, because nothing accepts or rejects them."""
        return False

    def check(self, density: AbstractDensity) -> None:
        """Raise, before anything is compiled, if the settings are wrong or the density lacks what is needed."""
        return None


class Stage(NamedTuple):
    """A part of a run: the density that is sampled from some warm-up step on.

    Those of all stages have the same structure, so that they share what is compiled; the last is what was asked for.
    """

    begin: int
    density: AbstractDensity


class AbstractKernel(AbstractSampler):
    """A Markov chain in flat coordinates.

    ``step`` is pure: it is vectorized over chains and compiled by `samplers.run`.
    """

    target_acceptance: eqx.AbstractVar[float]
    uses_mass: eqx.AbstractClassVar[bool]

    @abc.abstractmethod
    def init(self, target: AbstractTarget, z: Float[Array, " n"]):
        """Return the state of a chain at a point."""

    @abc.abstractmethod
    def step(
        self,
        key: PRNGKeyArray,
        shared: PRNGKeyArray,
        state,
        target: AbstractTarget,
        integrator: Integrator,
        tuning: Tuning,
    ) -> tuple[Any, dict[str, Array]]:
        """Return the next state and its statistics; ``shared`` is the same key for all chains."""

    @abc.abstractmethod
    def target(self, density: AbstractDensity, whitening: Whitening) -> AbstractTarget:
        """Return the density in flat coordinates, with what this kernel needs to know of it."""

    @property
    def num_stages(self) -> int:
        """Scores in each step of a trajectory."""
        return 1

    def first_step_size(self, size: int) -> float:
        """Return where warm-up starts; coordinates are of order one."""
        return size**-0.25

    @property
    def fixed_step_size(self) -> float | None:
        """The step size that the user gave; None where warm-up finds it."""
        return None

    def stretch(self, positions: Float[np.ndarray, "step chain n"]) -> float:
        """Return by how much trajectories are to be longer, from positions along the chains in warm-up."""
        return 1.0

    def stages(self, density: AbstractDensity, num_warmup: int) -> tuple[Stage, ...]:
        """Return the parts of a run; most have one."""
        return (Stage(0, density),)

    def resolved(self, density: AbstractDensity) -> "AbstractKernel":
        """Return these settings with what they leave to the density decided."""
        return self


def settings_of(sampler: AbstractSampler) -> dict[str, Any]:
    """Return name and fields of a sampler as plain values."""
    return {"name": sampler.name} | {f: getattr(sampler, f) for f in sampler.__dataclass_fields__}

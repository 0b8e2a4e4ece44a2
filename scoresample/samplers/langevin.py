"""What the Langevin samplers share: moves that nothing has to accept, and how good a step size is all the same."""

import abc
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, PRNGKeyArray

from scoresample.density.base import AbstractDensity
from scoresample.errors import ConfigError
from scoresample.samplers.base import AbstractKernel, Tuning
from scoresample.samplers.energies import AbstractTarget, WorkTarget
from scoresample.samplers.integrators import Integrator
from scoresample.samplers.targets import flat_target
from scoresample.samplers.whitening import Whitening

LARGEST_ERROR = 1000.0
"""Nats beyond which a move has left the distribution; as in blackjax and Stan."""


class LangevinState(NamedTuple):
    """Where a chain is, its momentum, and what is known of the density there (`samplers.energies`)."""

    position: Float[Array, " n"]
    momentum: Float[Array, " n"]
    logdensity: Float[Array, ""]
    logdensity_grad: Any


class AbstractLangevin(AbstractKernel):
    r"""A kernel whose moves are taken as they come.

    Each move has the log ratio :math:`r` by which Metropolis' rule would judge it, minus the error of energy of the
    step. Nothing is rejected by it, but :math:`\min(1, e^r)`, the ``acceptance_rate`` of the draws, says how far a
    move is from exact, and warm-up sets the step size by its mean. The values it compares are those of the density,
    or the work of the score where there are none, at one more score for each move. Only what no number can follow is
    refused: a move to a place that is not finite, or an error above `LARGEST_ERROR`, leaves the chain where it was and
    counts as a divergence.
    """

    steps_per_draw: eqx.AbstractVar[int]
    step_size: eqx.AbstractVar[float | None]

    @abc.abstractmethod
    def move(
        self, key: PRNGKeyArray, state: LangevinState, target: AbstractTarget, integrator, tuning: Tuning
    ) -> tuple[LangevinState, Float[Array, ""]]:
        """Return where one move leads, and the log ratio that Metropolis' rule would judge it by."""

    def takes(self, key: PRNGKeyArray, log_ratio: Float[Array, ""]) -> Bool[Array, ""]:
        """Return whether a move is taken; every one is, where nothing is adjusted."""
        return jnp.asarray(True)

    @property
    def unadjusted(self) -> bool:
        return True

    @property
    def fixed_step_size(self) -> float | None:
        return self.step_size

    def check(self, density: AbstractDensity) -> None:
        if self.step_size is not None and not self.step_size > 0:
            raise ConfigError(
                f"{self.name}: step_size is {self.step_size}; it must be positive, or None to be found in warm-up."
            )
        if self.steps_per_draw < 1:
            raise ConfigError(f"{self.name}: steps_per_draw is {self.steps_per_draw}; it must be at least 1.")

    def target(self, density: AbstractDensity, whitening: Whitening) -> AbstractTarget:
        return flat_target(density, whitening, by_value=density.has_log_prob)

    def init(self, target: AbstractTarget, z: Float[Array, " n"]) -> LangevinState:
        return LangevinState(z, jnp.zeros_like(z), *target.start(z))

    def step(
        self,
        key: PRNGKeyArray,
        shared: PRNGKeyArray,
        state: LangevinState,
        target: AbstractTarget,
        integrator: Integrator,
        tuning: Tuning,
    ) -> tuple[LangevinState, dict[str, Array]]:
        def one(index, carry):
            state, acceptance, diverging = carry
            key_move, key_take = jax.random.split(jax.random.fold_in(key, index))
            moved, log_ratio = self.move(key_move, state, target, integrator, tuning)
            parts = (moved.position, moved.momentum, target.score(moved.logdensity_grad), log_ratio)
            sound = jnp.stack([jnp.all(jnp.isfinite(part)) for part in parts]).all()
            sound = sound & (log_ratio > -LARGEST_ERROR)
            taken = sound & self.takes(key_take, log_ratio)
            # What is refused turns back, as it must for the reversed path to be as likely (Horowitz 1991).
            turned = state._replace(momentum=-state.momentum)
            state = jax.tree.map(lambda a, b: jnp.where(taken, a, b), moved, turned)
            rate = jnp.where(sound, jnp.exp(jnp.minimum(log_ratio, 0)), 0)
            return state, acceptance + rate / self.steps_per_draw, diverging | ~sound

        zero = jnp.zeros((), state.position.dtype)
        if isinstance(target, WorkTarget):  # only differences are known; begun at 0 they are sharper
            state = state._replace(logdensity=jnp.zeros_like(state.logdensity))
        begin = (state, zero, jnp.asarray(False))
        state, acceptance, diverging = jax.lax.fori_loop(0, self.steps_per_draw, one, begin)
        stats = {
            "acceptance_rate": acceptance,
            "diverging": diverging,
            "num_steps": jnp.asarray(self.steps_per_draw),
        }
        return state, stats if isinstance(target, WorkTarget) else stats | {"log_prob": state.logdensity}


def squared(vector: Float[Array, " n"]) -> Float[Array, ""]:
    """Return the squared length of a vector."""
    return jnp.sum(vector**2)

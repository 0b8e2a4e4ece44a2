"""Optimizers in whitened coordinates, in compiled pieces of some steps each."""

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float

from scoresample.density.base import AbstractDensity
from scoresample.numerics.compiling import quick_jit
from scoresample.samplers.whitening import Whitening

CHUNK = 20
"""Steps in one compiled piece."""


class ClimbState(NamedTuple):
    """Where a climb stands: point, loss, gradient, direction, step length along it, optimizer memory."""

    z: Float[Array, " n"]
    loss: Float[Array, ""]
    gradient: Float[Array, " n"]
    direction: Float[Array, " n"]
    length: Float[Array, ""]
    memory: optax.OptState


class Climber(eqx.Module):
    """An optimizer in whitened coordinates.

    L-BFGS halves its step until the loss falls enough (Armijo's rule). Every step evaluates the density just
    once, wherever it is in that search, which keeps the compiled code small.
    """

    method: str = eqx.field(static=True)
    max_steps: int = eqx.field(static=True)
    learning_rate: float = eqx.field(static=True)

    def optimizer(self) -> optax.GradientTransformation:
        """Return optax's optimizer."""
        if self.method == "lbfgs":
            return optax.scale_by_lbfgs(memory_size=20)
        return optax.adam(optax.cosine_onecycle_schedule(self.max_steps, self.learning_rate, pct_start=0.2))

    @quick_jit
    def init(self, density: AbstractDensity, whitening: Whitening) -> ClimbState:
        """Return the state at the center of a whitening, before the first evaluation."""
        z = jnp.zeros(whitening.size, whitening.rest.diagonal.dtype)
        infinity = jnp.asarray(jnp.inf, z.dtype)
        return ClimbState(z, infinity, z, z, jnp.ones((), z.dtype), self.optimizer().init(z))

    @quick_jit
    def climb(self, density: AbstractDensity, whitening: Whitening, state: ClimbState, num_steps: int):
        """Take steps in one compiled piece; return the state, its position, and rows of (log_prob, score, step rms)."""

        def step(index, carry):
            state, rows = carry
            after = (
                self._lbfgs(density, whitening, state)
                if self.method == "lbfgs"
                else self._adam(density, whitening, state)
            )
            row = jnp.stack([-after.loss, _rms(after.gradient), _rms(after.z - state.z)])
            return after, rows.at[index].set(row)

        rows = jnp.zeros((CHUNK, 3), state.z.dtype)
        state, rows = jax.lax.fori_loop(0, jnp.asarray(num_steps), step, (state, rows))
        return state, whitening.position(state.z), rows

    def _lbfgs(self, density, whitening, state: ClimbState) -> ClimbState:
        trial = state.z + state.length * state.direction
        loss, gradient = jax.value_and_grad(lambda z: -density.log_prob(whitening.position(z)))(trial)
        enough = state.loss + 1e-4 * state.length * jnp.dot(state.gradient, state.direction)
        accept = jnp.isfinite(loss) & ((loss <= enough) | ~jnp.isfinite(state.loss))
        ascent, memory = self.optimizer().update(gradient, state.memory, trial)
        # Without Wolfe's second condition a step may see negative curvature, whose memory points uphill.
        curved = jnp.dot(trial - state.z, gradient - state.gradient) > 0
        trusted = curved & (jnp.dot(gradient, ascent) > 0)
        fresh = self.optimizer().init(trial)
        memory = jax.tree.map(lambda kept, new: jnp.where(trusted, kept, new), memory, fresh)
        # Far from quadratic, steps may be wild: none moves further than one deviation rms.
        direction = -_clipped(jnp.where(trusted, ascent, gradient))
        taken = ClimbState(trial, loss, gradient, direction, jnp.ones_like(loss), memory)
        refused = state._replace(length=0.5 * state.length)
        return jax.tree.map(lambda a, b: jnp.where(accept, a, b), taken, refused)

    def _adam(self, density, whitening, state: ClimbState) -> ClimbState:
        position, pull_back = jax.vjp(whitening.position, state.z)
        gradient = -pull_back(density.score(position))[0]
        updates, memory = self.optimizer().update(gradient, state.memory, state.z)
        nothing = jnp.full_like(state.loss, jnp.nan)
        return state._replace(z=state.z + updates, loss=nothing, gradient=gradient, memory=memory)


def _clipped(vector: Float[Array, " n"]) -> Float[Array, " n"]:
    return vector / jnp.maximum(1.0, _rms(vector))


def _rms(vector: Float[Array, " n"]) -> Float[Array, ""]:
    return jnp.sqrt(jnp.mean(vector**2))

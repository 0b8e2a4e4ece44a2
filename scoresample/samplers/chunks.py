"""The compiled pieces of a run: some steps of all chains at once."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Key, PRNGKeyArray

from scoresample.density.base import AbstractDensity
from scoresample.samplers.adaptation import AdaptationState, WindowAdaptation
from scoresample.samplers.base import AbstractKernel, Tuning
from scoresample.samplers.whitening import Whitening

CHUNK = 25
"""Steps in one compiled piece: between two looks at progress, checkpoints and Ctrl-C."""


def step_keys(key: PRNGKeyArray, step: Array, num_chains: int) -> tuple[Key[Array, " chain"], PRNGKeyArray]:
    """Return one key for each chain at a step, and one for all, the same however a run is cut into pieces."""
    keys = jax.random.split(jax.random.fold_in(key, step), num_chains + 1)
    return keys[:-1], keys[-1]


def _log_prob(density: AbstractDensity, whitening: Whitening):
    return lambda z: density.log_prob(whitening.position(z))


@eqx.filter_jit
def start_chains(kernel: AbstractKernel, density: AbstractDensity, whitening: Whitening, z):
    """Return the states of chains at their first coordinates."""
    return jax.vmap(lambda point: kernel.init(_log_prob(density, whitening), point))(z)


@eqx.filter_jit
def warm_up(
    kernel: AbstractKernel,
    adaptation: WindowAdaptation,
    density: AbstractDensity,
    whitening: Whitening,
    key: PRNGKeyArray,
    states,
    adapting: AdaptationState,
    first: Array,
    num_steps: Array,
    slow: Array,
    ends_window: Array,
):
    """Take warm-up steps; return states, adaptation and the mean acceptance of the last step."""
    log_prob = _log_prob(density, whitening)

    def step(index, carry):
        states, adapting, _ = carry
        tuning = adaptation.current(adapting)
        keys, shared = step_keys(key, first + index, states.position.shape[0])
        states, stats = jax.vmap(lambda k, s: kernel.step(k, shared, s, log_prob, tuning))(keys, states)
        acceptance = stats["acceptance_rate"]
        adapting = adaptation.update(adapting, states.position, acceptance, slow[index], ends_window[index])
        return states, adapting, jnp.mean(acceptance)

    carry = (states, adapting, jnp.zeros((), states.position.dtype))
    return jax.lax.fori_loop(0, num_steps, step, carry)


@eqx.filter_jit
def draw(
    kernel: AbstractKernel,
    density: AbstractDensity,
    whitening: Whitening,
    key: PRNGKeyArray,
    states,
    tuning: Tuning,
    first: Array,
    num_steps: Array,
):
    """Take steps and keep them; return states and (positions, derived, stats) with axes (step, chain, ...)."""
    log_prob = _log_prob(density, whitening)

    def step(index, states):
        keys, shared = step_keys(key, first + index, states.position.shape[0])

        def one(key, state):
            key_move, key_derive = jax.random.split(key)
            state, stats = kernel.step(key_move, shared, state, log_prob, tuning)
            position = whitening.position(state.position)
            return state, (position, density.derive(key_derive, position), stats)

        return jax.vmap(one)(keys, states)

    return _collect(step, states, num_steps)


@eqx.filter_jit
def draw_normal(
    density: AbstractDensity,
    whitening: Whitening,
    key: PRNGKeyArray,
    num_chains: int,
    first: Array,
    num_steps: Array,
):
    """Draw independent standard normal coordinates; return as `draw` does."""

    def step(index, states):
        def one(key):
            key_move, key_derive = jax.random.split(key)
            z = jax.random.normal(key_move, (whitening.size,), whitening.rest.diagonal.dtype)
            position = whitening.position(z)
            return position, density.derive(key_derive, position), {}

        return states, jax.vmap(one)(step_keys(key, first + index, num_chains)[0])

    return _collect(step, jnp.zeros(()), num_steps)


def _collect(step, states, num_steps):
    """Run ``step(index, states) -> (states, out)`` and stack what comes out, up to a chunk of it."""
    _, shapes = jax.eval_shape(step, 0, states)
    buffers = jax.tree.map(lambda s: jnp.zeros((CHUNK, *s.shape), s.dtype), shapes)

    def body(index, carry):
        states, buffers = carry
        states, out = step(index, states)
        return states, jax.tree.map(lambda b, o: b.at[index].set(o), buffers, out)

    return jax.lax.fori_loop(0, num_steps, body, (states, buffers))

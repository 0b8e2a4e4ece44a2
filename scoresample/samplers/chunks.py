"""The compiled pieces of a run: some steps of all chains at once."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int, Key, PRNGKeyArray

from scoresample.density.base import AbstractDensity
from scoresample.numerics.compiling import jit_to_run_once, quick_jit
from scoresample.numerics.threads import side_by_side
from scoresample.samplers.adaptation import AdaptationState, WindowAdaptation
from scoresample.samplers.base import AbstractKernel
from scoresample.samplers.groups import groups_of_chains, join, mean_of, part_of
from scoresample.samplers.integrators import MAX_ROTATION, Integrator, leapfrog, rotation
from scoresample.samplers.whitening import Whitening

CHUNK = 25
"""Steps in one compiled piece: between two looks at progress, checkpoints and Ctrl-C."""


def step_keys(
    key: PRNGKeyArray, step: Array, chains: Int[Array, " chain"]
) -> tuple[Key[Array, " chain"], PRNGKeyArray]:
    """Return a key for each of some chains at a step, and one for all, the same however a run is cut into pieces."""
    own, shared = jax.random.split(jax.random.fold_in(key, step))
    return jax.vmap(lambda chain: jax.random.fold_in(own, chain))(chains), shared


def _integrator(whitening: Whitening) -> Integrator:
    """Where coordinates are round, steps rotate; where scales are still to be learned, they leap."""
    return leapfrog if whitening.local is None else rotation


@jit_to_run_once
def start_chains(kernel: AbstractKernel, density: AbstractDensity, whitening: Whitening, z):
    """Return the states of chains at their first coordinates."""
    target = kernel.target(density, whitening)
    return jax.vmap(lambda point: kernel.init(target, point))(z)


def warm_up(
    kernel,
    adaptation,
    density,
    whitening,
    key,
    states,
    adapting,
    first: int,
    num_steps: int,
    slow,
    ends_window,
):
    """Take warm-up steps; return states, adaptation, positions (step, chain, ...) and the mean acceptance of the last.

    ``slow`` and ``ends_window`` are the flags of these steps, from `WindowAdaptation.schedule`.
    """
    groups, fixed = _groups(whitening, states), (kernel, adaptation, density, whitening, key)
    _compile(groups, fixed, states, adapting)
    # What groups learn in one step is averaged: the step size is then that of all chains together, since every update
    # of dual averaging is linear in the acceptance.
    at_a_time = num_steps if len(groups) == 1 else 1
    positions, acceptance = [], 0.0
    for begin in range(0, num_steps, at_a_time):
        number = min(at_a_time, num_steps - begin)
        flags = [_padded(flag[begin : begin + number]) for flag in (slow, ends_window)]
        states, adapting, out = _advance_groups(
            groups, fixed, states, adapting, first + begin, number, jnp.asarray(True), *flags
        )
        positions.append(part_of(jax.tree.map(np.asarray, out[0]), slice(number)))
        acceptance = float(np.asarray(out[2]["acceptance_rate"])[number - 1].mean())
    return states, adapting, join(positions, 0), acceptance


def draw(kernel, adaptation, density, whitening, key, states, adapting, first: int, num_steps: int):
    """Take steps and keep them; return states and (positions, derived, stats) with axes (step, chain, ...)."""
    groups, fixed = _groups(whitening, states), (kernel, adaptation, density, whitening, key)
    _compile(groups, fixed, states, adapting)
    flags = [_padded(np.zeros(0, bool))] * 2
    states, _, out = _advance_groups(
        groups, fixed, states, adapting, first, num_steps, jnp.asarray(False), *flags
    )
    return states, out


def no_draws(kernel, adaptation, density, whitening, key, states, adapting):
    """Return what `draw` gives for no step at all, for its shapes."""
    chains, flag = jnp.arange(states.position.shape[0]), jnp.zeros(CHUNK, bool)
    fixed = (kernel, adaptation, density, whitening, key, chains)
    none = jnp.asarray(0)
    _, _, shapes = eqx.filter_eval_shape(
        _advance, *fixed, states, adapting, none, none, jnp.asarray(False), flag, flag
    )
    return jax.tree.map(lambda s: np.zeros((0, *s.shape[1:]), s.dtype), shapes)


def _groups(whitening: Whitening, states) -> list[Int[Array, " chain"]]:
    """Return which chains go together: all, where they learn scales from each other."""
    return groups_of_chains(states.position.shape[0], together=whitening.local is None)


def _padded(flag: np.ndarray) -> Array:
    return jnp.asarray(np.pad(flag, (0, CHUNK - len(flag))))


def _compile(groups, fixed, states, adapting) -> None:
    """Take no step with the first of several groups: compiled once, before threads ask for it all at a time."""
    if len(groups) > 1:
        flags = [_padded(np.zeros(0, bool))] * 2
        _advance_groups(groups[:1], fixed, states, adapting, 0, 0, jnp.asarray(True), *flags)


def _advance_groups(groups, fixed, states, adapting, first: int, num_steps: int, *flags):
    """Take steps of all chains, and return what `_advance` does."""

    def advance(chains):
        mine = part_of(states, chains)
        return _advance(*fixed, chains, mine, adapting, jnp.asarray(first), jnp.asarray(num_steps), *flags)

    parts = side_by_side(advance, groups)
    moved, learned, out = (list(part) for part in zip(*parts, strict=True))
    return join(moved, 0), mean_of(learned), join(out, 1)


@quick_jit
def _advance(
    kernel: AbstractKernel,
    adaptation: WindowAdaptation,
    density: AbstractDensity,
    whitening: Whitening,
    key: PRNGKeyArray,
    chains: Int[Array, " chain"],
    states,
    adapting: AdaptationState,
    first: Array,
    num_steps: Array,
    warming: Array,
    slow: Array,
    ends_window: Array,
):
    """Take steps in warm-up or after it. One function for both: it takes longer to compile than to run."""
    target, integrator = kernel.target(density, whitening), _integrator(whitening)
    largest = kernel.num_stages * MAX_ROTATION if integrator is rotation else jnp.inf

    def step(index, carry):
        states, adapting = carry
        now, final = adaptation.current(adapting), adaptation.final(adapting)
        tuning = jax.tree.map(lambda a, b: jnp.where(warming, a, b), now, final)
        tuning = tuning._replace(step_size=jnp.minimum(tuning.step_size, largest))
        keys, shared = step_keys(key, first + index, chains)
        move, derive = jnp.moveaxis(jax.vmap(jax.random.split)(keys), 1, 0)
        one = lambda k, s: kernel.step(k, shared, s, target, integrator, tuning)
        states, stats = jax.vmap(one)(move, states)
        acceptance = stats["acceptance_rate"]
        learned = adaptation.update(adapting, states.position, acceptance, slow[index], ends_window[index])
        adapting = jax.tree.map(lambda a, b: jnp.where(warming, a, b), learned, adapting)
        positions, log_volumes = jax.vmap(whitening.position_and_volume)(states.position)
        # Kernels know the density of coordinates; what is kept is that of positions.
        stats |= {
            name: stats[name] - log_volumes for name in ("log_prob", "log_prob_change") if name in stats
        }
        shapes = jax.eval_shape(jax.vmap(density.derive), derive, positions)
        nothing = jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), shapes)
        derived = jax.lax.cond(
            warming, lambda _: nothing, lambda p: jax.vmap(density.derive)(derive, p), positions
        )
        return (states, adapting), (positions, derived, stats)

    (states, adapting), out = _collect(step, (states, adapting), num_steps)
    return states, adapting, out


@quick_jit
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

        return states, jax.vmap(one)(step_keys(key, first + index, jnp.arange(num_chains))[0])

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

"""Warm-up: one set of types from the first step to the last, and step sizes after a restart."""

import os

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from scoresample.samplers.adaptation import WindowAdaptation

SEED = int(os.environ.get("SCORESAMPLE_TEST_SEED", 0))
STEPS, CHAINS = 25, 4
SPREAD = 0.7  # of how steep places are, in the logarithm: one chain may refuse what the others accept


@eqx.filter_jit
def advance(adaptation, state, acceptance):
    flag = jnp.asarray(False)
    return adaptation.update(state, jnp.zeros((CHAINS, 3)), jnp.broadcast_to(acceptance, CHAINS), flag, flag)


@pytest.mark.parametrize("adapt_mass", [True, False])
def test_types_stay_as_they_are_so_that_nothing_compiles_twice(adapt_mass):
    adaptation = WindowAdaptation(0.8, adapt_mass)
    first = adaptation.init(3, 0.5, jnp.result_type(float))
    second = advance(adaptation, first, jnp.asarray(0.9))
    types = [[jax.typeof(x) for x in jax.tree.leaves(s)] for s in (first, second, adaptation.restart(second))]
    assert types[0] == types[1] == types[2]
    assert not any(x.weak_type for x in jax.tree.leaves(first))


def test_a_restart_stays_near_the_average_step_size():
    adaptation = WindowAdaptation(0.8, False)
    state = adaptation.init(3, 0.01, jnp.result_type(float))
    for index in range(200):
        state = advance(adaptation, state, jnp.asarray(0.8 + 0.2 * (-1) ** index))
    average = float(adaptation.final(state).step_size)
    state = adaptation.restart(state)
    np.testing.assert_allclose(adaptation.current(state).step_size, average, rtol=1e-5)
    sizes = []
    for _ in range(20):
        state = advance(adaptation, state, jnp.asarray(0.8))
        sizes.append(float(adaptation.current(state).step_size))
    assert average < max(sizes) < 3 * average


@pytest.mark.parametrize("first", [0.4, 1.0, 2.5])
def test_few_steps_find_the_step_size_of_the_acceptance_asked_for(first):
    """Energies are normal, with a standard deviation that is the square of the step size times how steep a place is."""
    rng = np.random.default_rng(SEED)
    adaptation = WindowAdaptation(0.8, False)
    state = adaptation.init(3, 1.0, jnp.result_type(float))
    average = jnp.log(jnp.full_like(state.step_size.log_step_size_avg, first))
    start = adaptation.restart(eqx.tree_at(lambda s: s.step_size.log_step_size_avg, state, average))
    reached, smallest = [], []
    for _ in range(20):
        state, sizes = start, []
        for _ in range(STEPS):
            sizes.append(float(adaptation.current(state).step_size))
            state = advance(adaptation, state, jnp.asarray(accepted(rng, sizes[-1], CHAINS)))
        reached.append(np.mean(accepted(rng, float(adaptation.final(state).step_size), 20_000)))
        smallest.append(min(sizes) / sizes[-1])
    assert abs(np.mean(reached) - 0.8) < 0.03
    assert np.std(reached) < 0.06
    assert np.median(smallest) > 0.5


def accepted(rng, step_size: float, number: int) -> np.ndarray:
    """Return the acceptance of some trajectories of chains."""
    error = step_size**2 * np.exp(SPREAD * rng.normal(size=number))
    return np.minimum(1, np.exp(-(error**2) / 2 - error * rng.normal(size=number)))

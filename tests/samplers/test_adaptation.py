"""Warm-up: one set of types from the first step to the last, and step sizes after a restart."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from scoresample.samplers.adaptation import WindowAdaptation


@eqx.filter_jit
def advance(adaptation, state, acceptance):
    flag = jnp.asarray(False)
    return adaptation.update(state, jnp.zeros((2, 3)), jnp.full(2, acceptance), flag, flag)


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

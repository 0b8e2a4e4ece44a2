"""Integrators: rotations exact for a standard normal; all reversible, of second order, volume-preserving."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from blackjax.mcmc.integrators import IntegratorState

from scoresample.samplers.energies import ValueTarget
from scoresample.samplers.integrators import leapfrog, rotation

TWO_STAGES = rotation.in_stages(2)
INTEGRATORS = pytest.mark.parametrize(
    "integrator",
    [rotation, TWO_STAGES, leapfrog, leapfrog.in_stages(2)],
    ids=["rotation", "two rotations", "leapfrog", "two leaps"],
)


def kinetic(momentum, *_):
    return 0.5 * jnp.sum(momentum**2)


def normal(z):
    return -0.5 * jnp.sum(z**2)


def skewed(z):
    return normal(z) - 0.3 * jnp.sum(jnp.cosh(z)) + 0.2 * jnp.prod(z)


def state_at(log_prob, seed=0, size=3):
    z, momentum = np.random.default_rng(seed).normal(size=(2, size)).astype(np.float32)
    value, score = jax.value_and_grad(log_prob)(jnp.asarray(z))
    return IntegratorState(jnp.asarray(z), jnp.asarray(momentum), value, score)


def follow(integrator, log_prob, state, step_size, num_steps):
    step = jax.jit(integrator(ValueTarget(log_prob), kinetic))
    for _ in range(num_steps):
        state = step(state, step_size)
    return state


def energy(state):
    return float(kinetic(state.momentum) - state.logdensity)


def test_a_standard_normal_is_followed_exactly_with_any_step():
    start = state_at(normal)
    for integrator, exact in ((rotation, True), (TWO_STAGES, True), (leapfrog, False)):
        end = follow(integrator, normal, start, 1.3, 7)
        assert (abs(energy(end) - energy(start)) < 1e-5) == exact
    quarter = follow(rotation, normal, start, jnp.pi / 2, 1)
    np.testing.assert_allclose(quarter.position, start.momentum, atol=1e-6)


@INTEGRATORS
@pytest.mark.parametrize("step_size", [0.1, 0.5])
def test_it_runs_backwards(integrator, step_size):
    start = state_at(skewed)
    end = follow(integrator, skewed, start, step_size, 5)
    assert np.abs(end.position - start.position).max() > 0.1
    back = follow(integrator, skewed, end._replace(momentum=-end.momentum), step_size, 5)
    np.testing.assert_allclose(back.position, start.position, atol=1e-5)
    np.testing.assert_allclose(back.momentum, -start.momentum, atol=1e-5)


@INTEGRATORS
def test_it_keeps_volume(integrator):
    start = state_at(skewed)

    def flow(point):
        z, momentum = jnp.split(point, 2)
        value, score = jax.value_and_grad(skewed)(z)
        end = integrator(ValueTarget(skewed), kinetic)(IntegratorState(z, momentum, value, score), 0.4)
        return jnp.concatenate([end.position, end.momentum])

    jacobian = jax.jacobian(flow)(jnp.concatenate([start.position, start.momentum]))
    assert float(jnp.linalg.det(jacobian)) == pytest.approx(1.0, abs=1e-5)


@INTEGRATORS
def test_halving_the_step_quarters_the_error_of_energy(integrator):
    start = state_at(skewed)
    errors = [abs(energy(follow(integrator, skewed, start, 1.2 / n, n)) - energy(start)) for n in (4, 8)]
    assert 3 < errors[0] / errors[1] < 5


@pytest.mark.parametrize("integrator", [rotation, leapfrog], ids=["rotation", "leapfrog"])
def test_two_stages_err_less_for_the_same_scores(integrator):
    """At half as many steps, over trajectories from many points."""
    states = [state_at(skewed, seed) for seed in range(64)]
    starts = jax.tree.map(lambda *leaves: jnp.stack(leaves), *states)

    def error(integrator, num_steps):
        step = integrator(ValueTarget(skewed), kinetic)

        @jax.jit
        @jax.vmap
        def change(start):  # of energy
            end = jax.lax.fori_loop(0, num_steps, lambda _, state: step(state, 1.2 / num_steps), start)
            before, after = (kinetic(state.momentum) - state.logdensity for state in (start, end))
            return after - before

        return np.sqrt(np.mean(np.asarray(change(starts), float) ** 2))

    assert error(integrator.in_stages(2), 4) < 0.7 * error(integrator, 8)

"""Skewed and bent targets with known moments: what passes every Gaussian test may still fail here."""

import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special

from scoresample.density.base import Density
from scoresample.samplers.hmc import HMC, MALA, NUTS
from scoresample.samplers.laplace import Laplace
from scoresample.samplers.run import sample

SHAPE = 2.0
START = {"gamma": jnp.full(2, np.log(SHAPE)), "banana": jnp.zeros(2)}


def log_prob(position):
    """Logs of two Gamma(2) variables, and a banana: a standard normal a, and b normal around a^2."""
    g, (a, b) = position["gamma"], position["banana"]
    return jnp.sum(SHAPE * g - jnp.exp(g)) - 0.5 * a**2 - 0.5 * (b - a**2) ** 2


def worst_z(draws, errors_of_mean, bias=0.0):
    """Worst deviation from the known moments in Monte-Carlo errors; ``bias`` is added, in standard deviations."""
    g, (a, b) = draws.position["gamma"], np.moveaxis(draws.position["banana"], -1, 0)
    mean, variance = scipy.special.digamma(SHAPE), scipy.special.polygamma(1, SHAPE)
    third = scipy.special.polygamma(2, SHAPE)
    moments = {
        "mean of g": (g, mean),
        "square of g": ((g - mean) ** 2, variance),
        "cube of g": ((g - mean) ** 3, third),
        "a": (a[..., None], 0),
        "a^2": (a[..., None] ** 2, 1),
        "b": (b[..., None], 1),
        "b^2": (b[..., None] ** 2, 4),
        "a b": ((a * b)[..., None], 0),
    }
    worst = 0.0
    for values, truth in moments.values():
        average, error, ess = errors_of_mean(values)
        assert ess > 200, f"only {ess:.0f} effective draws"
        worst = max(worst, np.abs((average + bias * values.std() - truth) / error).max())
    return worst


@pytest.mark.parametrize(
    ("sampler", "num_draws"),
    [
        (NUTS(target_acceptance=0.9), 4000),
        (NUTS(target_acceptance=0.9, integrator="two_stage"), 4000),
        (HMC(), 6000),
        # At its usual 0.57 chains can stay in the tails for long; visits to that of the banana are rare all the same.
        (MALA(target_acceptance=0.9), 36_000),
    ],
    ids=["NUTS", "NUTS two stages", "HMC", "MALA"],
)
def test_moments_of_a_skewed_and_a_bent_target(key, errors_of_mean, sampler, num_draws):
    draws = sample(
        key, Density(log_prob=log_prob), sampler, start=START, num_chains=4, num_warmup=500, num_draws=num_draws,
        progress=False,
    )  # fmt: skip
    assert worst_z(draws, errors_of_mean) < 5
    assert worst_z(draws, errors_of_mean, bias=0.15) > 5


def test_that_test_sees_the_gaussian_approximation(key, errors_of_mean):
    draws = sample(
        key, Density(log_prob=log_prob), Laplace(), start=START, num_chains=4, num_draws=500, progress=False
    )
    assert worst_z(draws, errors_of_mean) > 10

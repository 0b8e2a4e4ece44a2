"""A scene made linear around a point: images, fluxes and background together have a Gaussian posterior.

The road is the default one: the local scale of the posterior, curvature, rotations, coordinates measured anew.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from scoresample.density.base import AbstractDensity
from scoresample.density.posterior import Posterior
from scoresample.models.gaussian_prior import load_gaussian_prior
from scoresample.numerics.trees import flatten
from scoresample.samplers.hmc import HMC, MALA, NUTS
from scoresample.samplers.laplace import Laplace
from scoresample.samplers.run import sample


class LinearizedPosterior(AbstractDensity):
    """A posterior whose model images are replaced by their tangent at a point.

    With residuals r at the point, their Jacobian J and the prior of mean m and precision P, the density is that of
    a Gaussian of precision J^T J + P.
    """

    posterior: Posterior
    center: dict
    residual: jax.Array
    jacobian: jax.Array

    def __init__(self, posterior, center):
        self.posterior, self.center = posterior, center
        flat, unflatten = flatten(center)

        def residual(x):
            position = unflatten(x)
            columns = posterior.columns(posterior.values(position))
            model = jnp.einsum("bk,kbp->bp", posterior.given_amplitudes(posterior.values(position)), columns)
            return ((posterior.likelihood.data - model) * posterior.likelihood.root_weight).ravel()

        self.residual, self.jacobian = residual(flat), jax.jacfwd(residual)(flat)

    @property
    def score_only_terms(self):
        return ()

    def explicit(self, position):
        moved = flatten(jax.tree.map(jnp.subtract, position, self.center))[0]
        left = self.residual + self.jacobian @ moved
        prior = sum(p.log_prob(position[p.name]) for p in images(self.posterior))
        return prior - 0.5 * jnp.sum(left**2)

    def score_only(self, position):
        return jax.tree.map(jnp.zeros_like, position)

    def local_scale(self, position):
        return self.posterior.local_scale(position)

    def for_compilation(self):
        return eqx.tree_at(lambda d: d.posterior, self, self.posterior.for_compilation())


@pytest.fixture
def problem(make_scene):
    """The linearized density, its maximum, and the exact mean and covariance of all coordinates."""
    posterior = Posterior(*make_scene(galaxies=True), collapse=False, image=load_gaussian_prior())
    center = posterior.initial_position()
    density = LinearizedPosterior(posterior, center)
    jacobian, residual = np.asarray(density.jacobian, float), np.asarray(density.residual, float)
    flat, unflatten = flatten(center)
    precision, right = jacobian.T @ jacobian, jacobian.T @ (jacobian @ np.asarray(flat, float) - residual)
    for parameter in images(posterior):
        at = np.asarray(place(center, parameter.name))
        inverse = np.linalg.inv(parameter.prior.covariance())
        precision[np.ix_(at, at)] += inverse
        right[at] += inverse @ np.asarray(parameter.prior.mean, float).ravel()
    covariance = np.linalg.inv(precision)
    mean = covariance @ right
    return density, unflatten(jnp.asarray(mean, flat.dtype)), mean, covariance


def images(posterior):
    return [parameter for parameter in posterior.parameters if parameter.name.endswith("image")]


def place(position, name):
    """Indices that an entry of a position has in its flat form."""
    flat, unflatten = flatten(position)
    return np.asarray(unflatten(jnp.arange(flat.size, dtype=flat.dtype))[name], int).ravel()


def looked_at(position, seed_shift):
    """Rows: every flux and background, the sum of each image, and five random directions."""
    size = flatten(position)[0].size
    rows = [np.random.default_rng(9 + seed_shift).normal(size=(5, size))]
    for name in position:
        one_each = np.eye(size)[place(position, name)]
        rows.append(one_each.sum(axis=0, keepdims=True) if name.endswith("image") else one_each)
    return np.concatenate(rows)


@pytest.mark.parametrize("sampler", [NUTS(), HMC(), MALA(), Laplace()], ids=lambda s: s.name)
def test_every_sampler_finds_the_mean_and_full_covariance(problem, key, largest_z, seed_shift, sampler):
    density, best, mean, covariance = problem
    draws = sample(
        key, density, sampler, start=best, num_chains=4, num_warmup=200,
        num_draws=4000 if isinstance(sampler, MALA) else 600, progress=False,
    )  # fmt: skip
    leaves = jax.tree.leaves(draws.position)
    flat = np.concatenate([np.reshape(leaf, (*leaf.shape[:2], -1)).astype(float) for leaf in leaves], axis=2)
    rows = looked_at(best, seed_shift)
    claimed = rows @ covariance @ rows.T
    assert len(rows) == 5 + 2 * 2 + 2 + 2
    assert largest_z(flat @ rows.T, rows @ mean, claimed) < 5
    assert largest_z(flat @ rows.T, rows @ mean, 1.3 * claimed) > 5

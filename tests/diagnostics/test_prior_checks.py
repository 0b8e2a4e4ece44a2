"""Checks of priors, each on a prior that passes and on one that must not."""

import dataclasses
from functools import partial

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jaxtyping import Array, Float

from scoresample.diagnostics.curl import curl
from scoresample.diagnostics.prior_checks import (
    at_noise_level,
    box_difference,
    noise_left,
    ring_test,
    scores,
    walk,
    with_ring,
)
from scoresample.models.morphology import to_morphology
from scoresample.models.priors import AbstractLogPrior
from scoresample.models.score_prior import ScorePrior

SIDE = 24


class Independent(AbstractLogPrior):
    """Pixels that are normal with unit variance around 0, with noise on top."""

    noise_level: float = eqx.field(static=True, default=0.5)
    width: float = eqx.field(static=True, default=1.0)
    name: str = "independent"

    def log_prob(self, value: Float[Array, "y x"]) -> Float[Array, ""]:
        return -0.5 * jnp.sum(value**2) / (self.width**2 + self.noise_level**2)

    def sample(self, key, shape, n):
        return jnp.sqrt(self.width**2 + self.noise_level**2) * jax.random.normal(key, (n, *shape))


def normal(seed, n=50, side=SIDE):
    return np.random.default_rng(seed).normal(size=(n, side, side)).astype(np.float32)


def test_noise_left_is_that_of_the_best_filter_for_the_true_prior_and_more_for_a_wrong_one():
    images, noise = normal(0), normal(1)
    prior = Independent()
    best = 1 / (1 + 0.5**2)
    assert noise_left(partial(scores, prior), 0.5, images, noise) == pytest.approx(best, rel=0.03)
    assert noise_left(partial(scores, Independent(width=0.3)), 0.5, images, noise) > 1.5 * best


def test_a_gradient_has_no_curl_and_a_known_rotation_has_its_own():
    images = normal(2, n=8)
    assert curl(jax.random.key(0), Independent(), images).value < 1e-6
    # J = -1 + c R with R = -R^T of full rank and |R| = |1|: |J - J^T| / |J| = 2c / sqrt(1 + c^2).
    c = 0.1
    rotate = lambda u: jnp.stack([-u[:, 1::2], u[:, ::2]], axis=-1).reshape(u.shape)
    found = curl(jax.random.key(0), ScorePrior(lambda u: -u + c * rotate(u), (SIDE, SIDE)), images, 256)
    assert found.value == pytest.approx(2 * c / np.sqrt(1 + c**2), rel=1e-3)
    assert found.error < 0.01 * found.value


def test_the_error_of_a_curl_covers_what_other_probes_find():
    matrix = np.random.default_rng(3).normal(size=(SIDE**2, SIDE**2)).astype(np.float32)
    truth = np.linalg.norm(matrix - matrix.T) / np.linalg.norm(matrix)
    prior = ScorePrior(lambda u: (matrix @ u.ravel()).reshape(u.shape), (SIDE, SIDE))
    found = [curl(jax.random.key(seed), prior, normal(4, n=1), 16) for seed in range(20)]
    pulls = np.array([(one.value - truth) / one.error for one in found])
    assert 0.5 < np.sqrt(np.mean(pulls**2)) < 1.7


def test_a_ring_is_removed_by_a_prior_that_knows_it_is_noise_and_kept_by_one_that_does_not():
    galaxy = np.tile(
        10 * np.exp(-0.5 * ((np.indices((32, 32)) - 15.5) ** 2).sum(axis=0) / 9), (3, 1, 1)
    ).astype(np.float32)
    strict = Independent(noise_level=2.0, width=0.1)
    loose = Independent(noise_level=0.1, width=5.0)
    removed = 4 / (4 + 0.01)
    found = ring_test(partial(scores, strict), 2.0, galaxy)
    assert found.removed == pytest.approx(removed, rel=1e-3)
    assert found.pushed_down == 1
    assert found.pushed_down_without == 1  # this one pulls all light to 0
    assert ring_test(partial(scores, loose), 0.1, galaxy).removed < 0.001
    expected = 2.0 * np.sqrt(np.mean(galaxy**2)) / 4.01
    assert found.score_of_galaxy == pytest.approx(expected, rel=1e-4)


def test_the_ring_has_a_tenth_of_the_peak():
    galaxy = np.zeros((1, 33, 33), np.float32)
    galaxy[0, 16, 16] = np.log(3.0) / 0.1  # S = 2
    added = np.asarray(to_morphology(jnp.asarray(with_ring(galaxy) - galaxy)))
    assert added.max() == pytest.approx(0.2, rel=1e-3)
    assert added[0, 16, 25] == pytest.approx(0.2, rel=1e-3)


class Blurring(Independent):
    """Subtracts the mean of the whole box, so that its score depends on the box."""

    def score(self, value):
        return super().score(value) + jnp.mean(value)


def test_scores_are_the_same_in_two_boxes_unless_they_depend_on_them():
    images = normal(5, n=4, side=64) + 1
    assert box_difference(Independent(), images, 32) < 1e-6
    assert box_difference(Blurring(), images, 32) > 0.005


def test_a_walk_stays_where_it_should_and_leaves_a_wrong_start():
    prior = Independent(noise_level=1.0, width=0.5)
    variance = 1.25
    right = np.asarray(prior.sample(jax.random.key(0), (16, 16), 64))
    stayed = walk(jax.random.key(1), prior, right, num_moves=10)
    assert stayed.images.var() == pytest.approx(variance, rel=0.03)
    assert stayed.acceptance > 0.8
    assert not np.allclose(stayed.images, right, atol=0.1)
    moved = walk(jax.random.key(1), prior, 2 * right, num_moves=10)
    assert moved.images.var() == pytest.approx(variance, rel=0.05)


def test_scores_of_many_images_are_those_of_each():
    prior, images = Independent(), normal(6, n=70)
    together = scores(prior, images)
    assert np.allclose(together[-1], prior.score(jnp.asarray(images[-1])), atol=1e-6)


def test_a_prior_is_moved_to_another_noise_level():
    prior = at_noise_level(Independent(), 2.0)
    assert prior.noise_level == 2.0
    assert dataclasses.replace(prior, noise_level=0.5) == Independent()

"""Chains on an energy: they draw from it, are as old as they say, and their contrast is the gradient of likelihood."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from scoresample.models.galaxy_box import galaxy_box
from scoresample.models.gaussian_prior import load_gaussian_prior
from scoresample.training.chains import (
    LIFE,
    NOISE_LEVELS,
    Chains,
    begin_chains,
    chain_sides,
    contrast,
    noisy_galaxies,
    renew,
    wander,
)
from scoresample.training.dataset import TrainingSet, as_steps


class Bell(eqx.Module):
    """Every pixel normal, with a variance that is known."""

    log_variance: jax.Array

    def energy(self, u, box, noise_level, as_product=True):
        variance = jnp.exp(self.log_variance) + noise_level**2
        return 0.5 * jnp.sum(box.mask * (u**2 / variance + jnp.log(variance)))

    def denoise(self, u, box, noise_level, as_product=True):
        return u - noise_level**2 * jax.grad(self.energy)(u, box, noise_level)


@pytest.fixture(scope="module")
def galaxies():
    rng = np.random.default_rng(1)
    return TrainingSet({n: as_steps(2 * rng.normal(size=(200, n, n))) for n in (16, 21)}, {})


@pytest.fixture(scope="module")
def boxes():
    return {n: galaxy_box(load_gaussian_prior().tables, (n, n)) for n in (16, 21)}


def test_sides_are_those_nearest_to_three(galaxies):
    assert chain_sides(galaxies) == {21: pytest.approx(0.85), 16: pytest.approx(0.15)}
    many = {n: np.zeros((1, n, n), np.int16) for n in (16, 17, 32, 49, 64, 128)}
    assert set(chain_sides(TrainingSet(many, {}))) == {17, 32, 64}


def test_they_begin_at_galaxies_with_noise(galaxies, boxes):
    for side, chains in begin_chains(galaxies, 1, 2).items():
        levels = np.asarray(chains.noise_levels)
        assert (levels >= NOISE_LEVELS[0]).all()
        assert (levels <= NOISE_LEVELS[1]).all()
        images = np.asarray(chains.images * chains.noise_levels[:, None, None])
        assert (images[:, boxes[side].mask == 0] == 0).all()
        spread = images[:, :side, :side].std(axis=(1, 2))
        np.testing.assert_allclose(spread, np.hypot(2, levels), rtol=0.25)


def test_the_old_make_way(galaxies):
    chains = begin_chains(galaxies, 1, 2)[21]._replace(ages=jnp.asarray([LIFE - 1, 3, 0]))
    chains = chains._replace(
        images=chains.images[:3], momenta=chains.momenta[:3], noise_levels=chains.noise_levels[:3]
    )
    new = renew(chains, galaxies, 21, np.random.default_rng(0))
    np.testing.assert_array_equal(new.ages, [0, 4, 1])
    np.testing.assert_array_equal(new.images[1:], chains.images[1:])
    assert (new.images[0] != chains.images[0]).any()


def test_they_draw_from_the_energy(boxes):
    box, level = boxes[21], 0.5
    chains = Chains(
        jnp.zeros((64, *box.mask.shape)),
        jnp.zeros((64, *box.mask.shape)),
        jnp.full(64, level),
        jnp.zeros(64, jnp.int32),
    )
    network = Bell(jnp.asarray(0.0))
    for index in range(60):
        chains = wander(network, box, chains, jax.random.key(index))
    inside = np.asarray(level * chains.images)[:, np.asarray(box.mask) > 0]
    assert (np.asarray(chains.images)[:, np.asarray(box.mask) == 0] == 0).all()
    # 64 x 441 independent pixels: a standard error of 0.6 % on the variance.
    np.testing.assert_allclose(inside.var(), 1 + level**2, rtol=0.03)


def test_the_contrast_finds_the_right_energy(galaxies, boxes):
    """Galaxies are wider than the energy says: the gradient widens it; at the right width it is zero."""
    box, levels = boxes[21], jnp.full(64, 0.5)

    def gradient(variance):
        network, rng = Bell(jnp.log(jnp.asarray(variance))), np.random.default_rng(2)
        z = rng.normal(size=(64, *box.mask.shape)) * np.sqrt(variance + 0.25) / 0.5 * np.asarray(box.mask)
        chains = Chains(jnp.asarray(z, jnp.float32), jnp.asarray(z), levels, jnp.zeros(64, jnp.int32))
        images = noisy_galaxies(galaxies, 21, chains, rng)
        return float(eqx.filter_grad(contrast)(network, box, jnp.asarray(images), chains).log_variance)

    # Of 441 pixels: half of the relative excess of the variance each, and a scatter of about 0.2.
    assert gradient(2.0) == pytest.approx(-0.5 * 441 * (4.25 / 2.25 - 1) * 2 / 2.25, rel=0.1)
    assert abs(gradient(4.0)) < 8
    assert gradient(8.0) > 50

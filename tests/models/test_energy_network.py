"""The energy network: one number for an image, the same whatever the padding, and a score that is its gradient."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from scoresample.errors import ConfigError
from scoresample.models.energy_network import KINDS, EnergyNetwork
from scoresample.models.galaxy_box import galaxy_box
from scoresample.models.gaussian_prior import load_gaussian_prior

WIDTHS = (8, 12, 16)
TABLES = load_gaussian_prior().tables


@pytest.fixture(scope="module")
def make_network():
    return lambda kind="residual": EnergyNetwork(jax.random.key(1), kind, WIDTHS)


@pytest.fixture
def image():
    return 2 * jax.random.normal(jax.random.key(2), (24, 24))


def without_heads(network):
    """The network with its last layers at zero."""
    last = lambda n: (n.image_head.weight, n.pooled_head.weight, *(head.weight for head in n.scalar_heads))
    return eqx.tree_at(last, network, tuple(jnp.zeros_like(w) for w in last(network)))


def placed(u, side, corner=(0, 0)):
    """An image somewhere in a larger square, and its box there."""

    def place(a):
        rest = [(0, 0)] * (a.ndim - 2) + [(0, side - n) for n in a.shape[-2:]]
        return jnp.roll(jnp.pad(a, rest), corner, (-2, -1))

    return place(u), jax.tree.map(lambda a: place(a) if a.ndim > 1 else a, galaxy_box(TABLES, u.shape))


@pytest.mark.parametrize("kind", KINDS)
def test_both_ways_of_convolution_agree(make_network, image, kind):
    network, box = make_network(kind), galaxy_box(TABLES, image.shape)
    one, other = (network.denoise(image, box, jnp.asarray(0.3, image.dtype), p) for p in (True, False))
    np.testing.assert_allclose(one, other, atol=2e-5)
    plain = box.denoise(image, jnp.asarray(0.3, image.dtype))
    assert np.abs(one - plain).max() > 100 * np.abs(one - other).max()


@pytest.mark.parametrize("kind", ["residual", "dot", "square", "scalar"])
def test_padding_changes_nothing(make_network, image, kind):
    """More of it, or what is in it; wherever the box lies by steps of the coarsest pixels."""
    network, noise_level = make_network(kind), jnp.asarray(0.3, image.dtype)
    energies = []
    for side, corner in ((24, (0, 0)), (40, (0, 0)), (40, (8, 16))):
        u, box = placed(image, side, corner)
        energies.append(network.energy(u, box, noise_level))
        np.testing.assert_allclose(
            network.energy(u + 5 * (1 - box.mask), box, noise_level), energies[-1], rtol=1e-5
        )
    np.testing.assert_allclose(energies, energies[0], rtol=1e-5)


def gaussian(kind, box, noise_level):
    """The energy of a kind without what it learns."""
    if kind == "residual":
        return lambda u: 0.5 * jnp.sum(box.whiten(u, noise_level) ** 2) + box.log_volume(noise_level)
    return lambda u: box.energy(u, noise_level)


@pytest.mark.parametrize("kind", ["residual", "dot", "scalar"])
def test_where_nothing_was_learned_it_is_the_gaussian(make_network, image, kind):
    network, box = without_heads(make_network(kind)), galaxy_box(TABLES, image.shape)
    for noise_level in (0.1, 1.0, 10.0):
        level = jnp.asarray(noise_level, image.dtype)
        energy, slope = jax.value_and_grad(gaussian(kind, box, level))(image)
        np.testing.assert_allclose(network.energy(image, box, level), energy, rtol=1e-5)
        np.testing.assert_allclose(
            network.denoise(image, box, level), image - level**2 * slope, rtol=1e-3, atol=1e-4
        )


def lowest(network, box, noise_level):
    """Climb down from noise; return the least energy found, less what does not depend on u."""
    energy = lambda u: network.energy(u, box, noise_level)

    def step(_, u):
        slope = jax.grad(energy)(u)
        return u - 0.1 * slope / jnp.sqrt(jnp.mean(slope**2))

    start = 10 * jax.random.normal(jax.random.key(5), box.mask.shape)
    return float(energy(jax.lax.fori_loop(0, 300, step, start)) - box.log_volume(noise_level))


def test_no_image_is_likely_by_chance(make_network, image):
    """Whatever was learned: with weights four times those of a first network, which a bound by squares withstands."""
    box, level = galaxy_box(TABLES, image.shape), jnp.asarray(0.14, image.dtype)
    wild = lambda kind: jax.tree.map(lambda leaf: 4 * leaf, make_network(kind))
    pixels = image.size * (1 / 4 + 1 / 16 + 1 / 64)
    bound = -0.25 * pixels - 5 * np.sqrt(image.size * box.error(level)) / float(level)
    assert lowest(wild("residual"), box, level) > bound
    assert lowest(wild("dot"), box, level) < 10 * bound


def test_far_away_the_gaussian_decides(make_network, image):
    network, box = make_network(), galaxy_box(TABLES, image.shape)
    level = jnp.asarray(0.14, image.dtype)
    for direction in (image, jnp.ones_like(image), box.mean):
        share = network.energy(1e5 * direction, box, level) / box.energy(1e5 * direction, level)
        assert 0.9 < share < 1.1


def test_a_kind_that_is_none():
    with pytest.raises(ConfigError, match="kind is 'cubic'; choose one of residual, dot, square"):
        EnergyNetwork(jax.random.key(0), "cubic")

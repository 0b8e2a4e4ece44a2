"""The energy network: one number for an image, the same whatever the padding, and a score that is its gradient."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from scoresample.errors import ConfigError
from scoresample.models.energy_network import KINDS, EnergyNetwork, padded_side

WIDTHS = (8, 12, 16)


@pytest.fixture(scope="module")
def make_network():
    return lambda kind="dot": EnergyNetwork(jax.random.key(1), kind, WIDTHS)


@pytest.fixture
def image():
    return 2 * jax.random.normal(jax.random.key(2), (24, 24))


def padded(u, side, corner=(0, 0)):
    """An image somewhere in a larger square, and its mask."""
    inside = tuple(slice(c, c + n) for c, n in zip(corner, u.shape, strict=True))
    zeros = jnp.zeros((side, side), u.dtype)
    return zeros.at[inside].set(u), zeros.at[inside].set(1)


@pytest.mark.parametrize("kind", KINDS)
def test_both_ways_of_convolution_agree(make_network, image, kind):
    network, mask = make_network(kind), jnp.ones_like(image)
    one, other = (network.denoise(image, mask, jnp.asarray(0.3, image.dtype), p) for p in (True, False))
    np.testing.assert_allclose(one, other, atol=2e-5)
    assert np.abs(one - image).max() > 0.01


@pytest.mark.parametrize("kind", ["dot", "square", "scalar"])
def test_padding_changes_nothing(make_network, image, kind):
    """More of it, or what is in it; wherever the box lies by steps of the coarsest pixels."""
    network, noise_level = make_network(kind), jnp.asarray(0.3, image.dtype)
    energies = []
    for side, corner in ((24, (0, 0)), (40, (0, 0)), (40, (8, 16))):
        u, mask = padded(image, side, corner)
        energies.append(network.energy(u, mask, noise_level))
        np.testing.assert_allclose(
            network.energy(u + 5 * (1 - mask), mask, noise_level), energies[-1], rtol=1e-5
        )
    np.testing.assert_allclose(energies, energies[0], rtol=1e-5)


def test_noise_pulls_where_nothing_was_learned(make_network, image):
    """With its last layers at zero it is the energy of unit Gaussians with noise, in closed form."""
    network = make_network("dot")
    zero = lambda n: (n.image_head.weight, *(head.weight for head in n.scalar_heads))
    network = eqx.tree_at(zero, network, tuple(jnp.zeros_like(w) for w in zero(network)))
    for noise_level in (0.1, 1.0, 10.0):
        level = jnp.asarray(noise_level, image.dtype)
        energy = network.energy(image, jnp.ones_like(image), level)
        np.testing.assert_allclose(energy, jnp.sum(image**2) / (2 * (1 + noise_level**2)), rtol=1e-4)
        denoised = network.denoise(image, jnp.ones_like(image), level)
        np.testing.assert_allclose(denoised, image / (1 + noise_level**2), rtol=1e-3, atol=1e-5)


def test_a_kind_that_is_none():
    with pytest.raises(ConfigError, match="kind is 'cubic'; choose one of dot"):
        EnergyNetwork(jax.random.key(0), "cubic")


def test_sides_are_padded_to_eighths():
    assert [padded_side(n) for n in (16, 17, 24, 25, 128)] == [16, 24, 24, 32, 128]

"""What networks learn from: both losses are least where the density is the true one."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from scoresample.models.energy_network import EnergyNetwork
from scoresample.models.galaxy_box import GalaxyBox
from scoresample.training.batches import Batch
from scoresample.training.denoising import denoising_loss, energy_loss

SIDE, NUM_IMAGES = 8, 400


class Gaussian(eqx.Module):
    """The energy of a Gaussian whose modes vary ``factor`` times too much, plus ``slope`` times log noise level."""

    factor: float = 1.0
    slope: float = 0.0

    def energy(self, u, box, noise_level, as_product=True):
        wrong = eqx.tree_at(lambda b: b.variances, box, self.factor * box.variances)
        return wrong.energy(u, noise_level) + self.slope * jnp.log(noise_level)

    def denoise(self, u, box, noise_level, as_product=True):
        return u - noise_level**2 * jax.grad(self.energy)(u, box, noise_level)


@pytest.fixture(scope="module")
def batch():
    """Draws of a Gaussian of three modes, with noise of many levels."""
    rng = np.random.default_rng(0)
    modes = np.linalg.qr(rng.normal(size=(SIDE**2, 3)))[0].T.reshape(3, SIDE, SIDE)
    variances, rest = np.array([9.0, 4.0, 1.0]), np.full((SIDE, SIDE), 1e-4)
    arrays = (np.ones((SIDE, SIDE)), np.ones((SIDE, SIDE)), modes, variances, rest)
    box = GalaxyBox(*(jnp.asarray(array, jnp.float32) for array in arrays))
    images = 1 + np.einsum("nk,kyx->nyx", rng.normal(size=(NUM_IMAGES, 3)) * np.sqrt(variances), modes)
    levels = np.exp(rng.uniform(np.log(0.05), np.log(20), NUM_IMAGES))
    single = lambda array: np.asarray(array, np.float32)
    return Batch(single(images), box, single(levels), single(rng.normal(size=images.shape)))


def test_the_true_energy_has_the_least_loss(batch):
    least = energy_loss(Gaussian(), batch, 0.1)
    assert energy_loss(Gaussian(factor=2.0), batch, 0.1) > 1.02 * least
    assert energy_loss(Gaussian(factor=0.5), batch, 0.1) > 1.02 * least
    assert denoising_loss(Gaussian(factor=2.0), batch) > 1.02 * denoising_loss(Gaussian(), batch)


def test_only_the_second_loss_sees_how_levels_are_tied_together(batch):
    """A constant at each noise level has no score; it is wrong all the same."""
    right, wrong = Gaussian(), Gaussian(slope=10.0)
    assert energy_loss(wrong, batch, 0.0) == pytest.approx(float(energy_loss(right, batch, 0.0)), rel=1e-3)
    assert energy_loss(wrong, batch, 0.1) > 1.5 * energy_loss(right, batch, 0.1)


def test_what_the_true_energy_leaves_is_as_wide_as_expected(batch):
    """So that deviations count alike at all noise levels: a tenth of their loss is about a tenth."""
    of_levels = energy_loss(Gaussian(), batch, 1.0) - energy_loss(Gaussian(), batch, 0.0)
    assert 0.1 < of_levels < 1.5


def test_without_the_second_loss_it_is_denoising(batch):
    network = EnergyNetwork(jax.random.key(0), "residual", (4, 6, 8))
    assert energy_loss(network, batch, 0.0) == pytest.approx(float(denoising_loss(network, batch)), rel=1e-4)

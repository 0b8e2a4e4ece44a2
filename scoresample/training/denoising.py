"""What a network learns from: removing noise, and how likely images are with more of it."""

from typing import Protocol, runtime_checkable

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from scoresample.models.galaxy_box import GalaxyBox, galaxy_box
from scoresample.models.radial_tables import RadialTables
from scoresample.training.batches import Batch


@runtime_checkable
class Denoiser(Protocol):
    """Whatever can be trained: an equinox module that removes noise, as `EnergyNetwork.denoise` does."""

    def denoise(
        self, u: Float[Array, "y x"], box: GalaxyBox, noise_level: Float[Array, ""], as_product: bool = True
    ) -> Float[Array, "y x"]:
        """Return the image without noise."""
        ...


@runtime_checkable
class Energy(Denoiser, Protocol):
    """What has an energy as well, as most networks."""

    def energy(
        self, u: Float[Array, "y x"], box: GalaxyBox, noise_level: Float[Array, ""], as_product: bool = True
    ) -> Float[Array, ""]:
        """Return minus the log density."""
        ...


def denoising_loss(network: Denoiser, batch: Batch) -> Float[Array, ""]:
    r"""Return the loss of a batch, the mean over pixels of

    .. math:: \frac{\big(D(u + \sigma\epsilon, \sigma) - u\big)^2}{e_G(\sigma)}

    whose minimum is the score of every noise level at once, :math:`\nabla\log p_\sigma = (D - u)/\sigma^2` (Vincent
    2011, Neural Computation 23, 1661). Each level counts by what it gains on a linear filter, whose error is about
    :math:`e_G` (see `GalaxyBox.error`).
    """
    weights = 1 / jax.vmap(batch.box.error)(batch.noise_levels)
    return jnp.mean(weights * squared_errors(network, batch)) / jnp.sum(batch.box.mask)


_OUTLIER = 2.0


def energy_loss(network: Energy, batch: Batch, level_weight: float | Float[Array, ""]) -> Float[Array, ""]:
    r"""Return `denoising_loss` of an energy and, weighted, the loss of its derivative by noise level.

    The score at a small noise level says little of how likely galaxies are that lie far apart, a bright and a faint one
    or a small and a large: errors add up along the way. More noise brings them together. With
    :math:`v = u + \sigma\epsilon` and D pixels,

    .. math:: \frac{\partial \log p_\sigma(v)}{\partial \log\sigma} = E\big[\,|\epsilon|^2 - D \,\big|\, v\big]

    ties the levels together, by regression on what is known of each noisy image: dual score matching (Guth, Kadkhodaie
    & Simoncelli 2025, arXiv:2506.05310). What a regression cannot explain has a variance of about
    :math:`4 D e_G/\sigma^2 + 1`, in units of which deviations count, large ones by their size instead of its square.
    """

    def losses(u, noise_level, noise):
        noisy, mask = u + noise_level * noise, batch.box.mask
        energy = lambda v, log_level: network.energy(v, batch.box, jnp.exp(log_level), as_product=False)
        by_image, by_level = jax.grad(energy, argnums=(0, 1))(noisy, jnp.log(noise_level))
        expected, pixels = batch.box.error(noise_level), jnp.sum(mask)
        denoising = jnp.sum((noisy - noise_level**2 * by_image - u) ** 2 * mask) / (pixels * expected)
        deviation = -by_level - (jnp.sum(noise**2 * mask) - pixels)
        square = deviation**2 / (4 * pixels * expected / noise_level**2 + 1)
        return denoising + level_weight * 2 * _OUTLIER**2 * (jnp.sqrt(1 + square / _OUTLIER**2) - 1)

    return jnp.mean(jax.vmap(losses)(batch.images, batch.noise_levels, batch.noise))


def squared_errors(network: Denoiser, batch: Batch) -> Float[Array, " galaxy"]:
    """Return the squared distance of each denoised image from the one without noise."""

    def error(u, noise_level, noise):
        denoised = network.denoise(u + noise_level * noise, batch.box, noise_level, as_product=False)
        return jnp.sum((denoised - u) ** 2 * batch.box.mask)

    return jax.vmap(error)(batch.images, batch.noise_levels, batch.noise)


def relative_error(
    network: Denoiser,
    tables: RadialTables,
    images: Float[np.ndarray, "n y x"],
    noise_level: float,
    seed: int = 0,
) -> float:
    r"""Return :math:`\langle (D - u)^2 \rangle / \sigma^2` of images of one side: the share of noise that stays.

    1 for a network that does nothing; the smallest possible value is that of the posterior mean.
    """
    box = galaxy_box(tables, images.shape[1:])
    pad = ((0, 0), *((0, large - n) for large, n in zip(box.mask.shape, images.shape[1:], strict=True)))
    noise = np.random.default_rng(seed).normal(size=images.shape).astype(np.float32)
    levels = np.full(len(images), noise_level, np.float32)
    total = 0.0
    for first in range(0, len(images), _AT_ONCE):
        part = slice(first, first + _AT_ONCE)
        batch = Batch(np.pad(images, pad)[part], box, levels[part], np.pad(noise, pad)[part])
        total += float(jnp.sum(_squared_errors(network, batch)))
    return total / (images.size * noise_level**2)


_AT_ONCE = 64
_squared_errors = eqx.filter_jit(squared_errors)

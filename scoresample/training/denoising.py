"""What a network learns from: removing noise."""

from typing import Protocol, runtime_checkable

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from scoresample.models.energy_network import padded_side
from scoresample.training.batches import Batch


@runtime_checkable
class Denoiser(Protocol):
    """Whatever can be trained: an equinox module that removes noise, as `EnergyNetwork.denoise` does."""

    def denoise(
        self,
        u: Float[Array, "y x"],
        mask: Float[Array, "y x"],
        noise_level: Float[Array, ""],
        as_product: bool = True,
    ) -> Float[Array, "y x"]:
        """Return the image without noise."""
        ...


def denoising_loss(network: Denoiser, batch: Batch) -> Float[Array, ""]:
    r"""Return the loss of a batch, the mean over pixels of

    .. math:: \frac{1 + \sigma^2}{\sigma^2} \big(D(u + \sigma\epsilon, \sigma) - u\big)^2

    whose minimum is the score of every noise level at once, :math:`\nabla\log p_\sigma = (D - u)/\sigma^2` (Vincent
    2011, Neural Computation 23, 1661; the weights of Karras et al. 2022, arXiv:2206.00364, table 1).
    """
    squares = squared_errors(network, batch)
    weights = (1 + batch.noise_levels**2) / batch.noise_levels**2
    counts = jnp.sum(batch.masks, axis=(1, 2))
    return jnp.mean(weights * squares / counts)


def squared_errors(network: Denoiser, batch: Batch) -> Float[Array, " galaxy"]:
    """Return the squared distance of each denoised image from the one without noise."""

    def error(u, mask, noise_level, noise):
        denoised = network.denoise(u + noise_level * noise, mask, noise_level, as_product=False)
        return jnp.sum((denoised - u) ** 2 * mask)

    return jax.vmap(error)(batch.images, batch.masks, batch.noise_levels, batch.noise)


def relative_error(
    network: Denoiser, images: Float[np.ndarray, "n y x"], noise_level: float, seed: int = 0
) -> float:
    r"""Return :math:`\langle (D - u)^2 \rangle / \sigma^2` of images of one side: the share of noise that stays.

    1 for a network that does nothing; the smallest possible value is that of the posterior mean.
    """
    side = images.shape[1]
    rest = padded_side(side) - side
    pad = ((0, 0), (0, rest), (0, rest))
    noise = np.random.default_rng(seed).normal(size=images.shape).astype(np.float32)
    levels = np.full(len(images), noise_level, np.float32)
    masks = np.pad(np.ones_like(images), pad)
    total = 0.0
    for first in range(0, len(images), _AT_ONCE):
        part = slice(first, first + _AT_ONCE)
        batch = Batch(np.pad(images, pad)[part], masks[part], levels[part], np.pad(noise, pad)[part])
        total += float(jnp.sum(_squared_errors(network, batch)))
    return total / (images.size * noise_level**2)


_AT_ONCE = 64
_squared_errors = eqx.filter_jit(squared_errors)

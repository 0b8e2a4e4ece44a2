"""The network of the learned prior: one number for an image, for boxes of every size."""

from itertools import pairwise

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from scoresample.errors import ConfigError
from scoresample.models.galaxy_box import GalaxyBox
from scoresample.models.layers import Block, Convolution, Dense, silu, to_depth, to_space

KINDS = ("residual", "dot", "square", "scalar", "score")
_NUM_NOISE = 32
_NUM_POOLED = 64
_SMALL = 0.25
_REACH = 4.0  # in u: galaxies differ from their mean by less, mostly


class EnergyNetwork(eqx.Module):
    r"""The energy of an image u with Gaussian noise of a given level, for any box.

    What a network adds to the energy :math:`E_G`, the denoiser :math:`D_G` and the whitened image :math:`r_G` of a
    Gaussian (see `GalaxyBox`). A U-Net on 2 x 2 pixels at once gives an image F, a sum g over the image, and a number h
    from its features' means, which enter by ``kind``:

    .. math:: \text{residual:}\quad E &= \tfrac12\,|r_G + \tfrac{k}{\sigma} F|^2 + N(\sigma) - \tfrac14 g - n h \\
              \text{dot:}\quad E &= E_G - \frac{k\,(\langle w, F\rangle + g)}{2\sigma^2} - n h \\
              \text{square:}\quad E &= \frac{|u - D_G - k F|^2 - k\,g}{2\sigma^2} + N(\sigma) - n h \\
              \text{scalar:}\quad E &= E_G - \frac{k\,g}{2\sigma^2} - n h

    with :math:`w = 4\,\mathrm{arsinh}((u - m)/4)`, m the mean image, k the error of :math:`D_G` in a pixel,
    :math:`n^2 = D k^2/\sigma^2` for D pixels, about the number of directions that the noise does not hide, and N the
    logarithms in :math:`E_G`. So F and h are of order one at every noise level. :math:`\log p_\sigma(u) = -E(u)`, and
    the best denoiser is :math:`D = u - \sigma^2 \nabla E`. ``score``, a network without a density, has
    :math:`D = D_G + k F`.

    A network knows nothing of images unlike all it has seen, and a sampler finds them if their energy is low by chance.
    Of ``residual`` it cannot be: squares are not negative, and g and h are limited, to a unit for each of their pixels
    and to five. It sees u by its inverse hyperbolic sine, so that far from all galaxies :math:`r_G` decides, and the
    density can be normalized. The others have no such bound.

    Parameters
    ----------
    key
        Of the first weights.
    kind
        One of `KINDS`.
    widths
        Features at each resolution, from half to an eighth.
    """

    embed: Dense
    stem: Convolution
    left: list[Block]
    down: list[Dense]
    bottom: list[Block]
    up: list[Dense]
    right: list[Block]
    image_head: Convolution
    scalar_heads: list[Dense]
    pooled: Dense
    pooled_head: Dense
    kind: str = eqx.field(static=True)
    widths: tuple[int, ...] = eqx.field(static=True)

    def __init__(self, key: PRNGKeyArray, kind: str = "residual", widths: tuple[int, ...] = (16, 32, 48)):
        if kind not in KINDS:
            raise ConfigError(f"kind is {kind!r}; choose one of {', '.join(KINDS)}.")
        keys = iter(jax.random.split(key, 8 * len(widths) + 8))
        pairs = list(pairwise(widths))
        self.kind, self.widths = kind, tuple(widths)
        self.embed = Dense(16, _NUM_NOISE, next(keys))
        self.stem = Convolution(4 * 6, widths[0], next(keys))
        self.left = [Block(width, _NUM_NOISE, next(keys)) for width in widths[:-1]]
        self.down = [Dense(4 * fine, coarse, next(keys)) for fine, coarse in pairs]
        self.bottom = [Block(widths[-1], _NUM_NOISE, next(keys)) for _ in range(2)]
        self.up = [Dense(coarse, 4 * fine, next(keys), gain=0.5) for fine, coarse in pairs]
        self.right = [Block(width, _NUM_NOISE, next(keys)) for width in widths[:-1]]
        self.image_head = Convolution(widths[0], 4, next(keys), gain=0.1)
        self.scalar_heads = [Dense(width, 1, next(keys), gain=0.1) for width in widths]
        self.pooled = Dense(sum(widths) + _NUM_NOISE, _NUM_POOLED, next(keys))
        self.pooled_head = Dense(_NUM_POOLED, 1, next(keys), gain=0.1)

    def energy(
        self, u: Float[Array, "y x"], box: GalaxyBox, noise_level: Float[Array, ""], as_product: bool = True
    ) -> Float[Array, ""]:
        """Return the energy.

        Parameters
        ----------
        u
            Sides are multiples of `STRIDE`; in the padding around the box it does not count.
        box
            Where the box is, and galaxies in it.
        noise_level
            sigma, in u.
        as_product
            How convolutions are written; see `Convolution`.
        """
        u, variance, gain = u * box.mask, noise_level**2, jnp.sqrt(box.error(noise_level))
        expected = box.denoise(u, noise_level)
        image, scalar, whole = self._features(u, expected, box, noise_level, as_product)
        whole = jnp.sqrt(jnp.sum(box.mask)) * gain / noise_level * whole
        if self.kind == "residual":
            residual = box.whiten(u, noise_level) + gain / noise_level * image
            return (
                0.5 * jnp.sum(residual**2 * box.mask) + box.log_volume(noise_level) - _SMALL * scalar - whole
            )
        if self.kind == "square":
            rest = jnp.sum((u - expected - gain * image) ** 2 * box.mask)
            return (rest - gain * scalar) / (2 * variance) + box.energy(box.mean, noise_level) - whole
        if self.kind == "dot":
            scalar = scalar + jnp.sum(_REACH * jnp.arcsinh((u - box.mean) / _REACH) * image)
        return box.energy(u, noise_level) - gain * scalar / (2 * variance) - whole

    def denoise(
        self, u: Float[Array, "y x"], box: GalaxyBox, noise_level: Float[Array, ""], as_product: bool = True
    ) -> Float[Array, "y x"]:
        """Return the expected image without noise; as `energy`."""
        u = u * box.mask
        if self.kind == "score":
            expected = box.denoise(u, noise_level)
            image, *_ = self._features(u, expected, box, noise_level, as_product)
            return (expected + jnp.sqrt(box.error(noise_level)) * image) * box.mask
        return (u - noise_level**2 * jax.grad(self.energy)(u, box, noise_level, as_product)) * box.mask

    def _features(self, u, expected, box, noise_level, as_product):
        """Return F, g and h."""
        noise = silu(self.embed(_waves(jnp.log(noise_level))))
        masks = [to_depth(box.mask[..., None]).max(axis=-1, keepdims=True)]
        x = self.stem(to_depth(_inputs(u, expected, box, noise_level)), as_product) * masks[0]
        skipped = []
        for block, down in zip(self.left, self.down, strict=True):
            x = block(x, noise, masks[-1], as_product)
            skipped.append(x)
            masks.append(to_depth(masks[-1]).max(axis=-1, keepdims=True))
            x = down(to_depth(x)) * masks[-1]
        for block in self.bottom:
            x = block(x, noise, masks[-1], as_product)
        limit = jnp.tanh if self.kind == "residual" else (lambda value: value)
        scalar, means = jnp.sum(limit(self.scalar_heads[-1](x)) * masks[-1]), [noise, _mean(x, masks[-1])]
        for level in reversed(range(len(self.right))):
            x = (skipped[level] + to_space(self.up[level](x))) * masks[level]
            x = self.right[level](x, noise, masks[level], as_product)
            scalar = scalar + jnp.sum(limit(self.scalar_heads[level](x)) * masks[level])
            means.append(_mean(x, masks[level]))
        whole = 5 * limit(self.pooled_head(silu(self.pooled(jnp.concatenate(means))))[0] / 5)
        return to_space(self.image_head(x, as_product))[..., 0] * box.mask, scalar, whole


def _waves(log_noise: Float[Array, ""]) -> Float[Array, " n"]:
    """Return the noise level as waves of its logarithm."""
    frequencies = jnp.asarray(np.arange(8) * 0.5 + 0.25, log_noise.dtype)
    return jnp.concatenate([jnp.cos(frequencies * log_noise), jnp.sin(frequencies * log_noise)])


def _mean(features, mask) -> Float[Array, " n"]:
    """Return the mean of each feature over the box."""
    return jnp.sum(features * mask, axis=(0, 1)) / jnp.sum(mask)


def _inputs(u, expected, box, noise_level) -> Float[Array, "y x 6"]:
    """Return what the network sees of a pixel.

    What the mean leaves of u, and what the Gaussian does, in units of the noise; what the Gaussian expects; where the
    box is; and the distance from its center in pixels, wherever it lies in the padding.
    """
    mask = box.mask
    y, x = (jnp.arange(n, dtype=u.dtype) for n in u.shape)
    count = jnp.sum(mask)
    middle_y, middle_x = jnp.sum(mask * y[:, None]) / count, jnp.sum(mask * x) / count
    radius = jnp.sqrt((y[:, None] - middle_y) ** 2 + (x - middle_x) ** 2)
    planes = [
        jnp.arcsinh((u - box.mean) / noise_level),
        jnp.arcsinh((u - expected) / noise_level),
        jnp.arcsinh(expected) / 2,
        jnp.ones_like(u),
        jnp.arcsinh(radius / 2) / 2,
        jnp.exp(-((radius / 3) ** 2)),
    ]
    return jnp.stack(planes, axis=-1) * mask[..., None]

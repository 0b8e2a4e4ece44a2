"""The network of the learned prior: one number for an image, for boxes of every size."""

from itertools import pairwise

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from scoresample.errors import ConfigError
from scoresample.models.layers import Block, Convolution, Dense, silu, to_depth, to_space

STRIDE = 8
"""Images are padded to multiples of this: halved three times."""

KINDS = ("dot", "square", "scalar", "score")
_NUM_NOISE = 32


class EnergyNetwork(eqx.Module):
    r"""The energy of an image u with Gaussian noise of a given level, for any box.

    A U-Net on 2 x 2 pixels at once gives an image F and a scalar g, from which the energy follows by ``kind``:

    .. math:: \text{dot:}\quad E &= \frac{(1 - c)\,|u|^2 - k\,(\langle u, F\rangle + g)}{2\sigma^2} \\
              \text{square:}\quad E &= \frac{|u - c\,u - k F|^2 - k\,g}{2\sigma^2} \\
              \text{scalar:}\quad E &= \frac{(1 - c)\,|u|^2 - k\,g}{2\sigma^2}

    with :math:`c = 1/(1 + \sigma^2)`, :math:`k = \sigma/\sqrt{1 + \sigma^2}`: the preconditioning of Karras et al.
    (2022), arXiv:2206.00364, table 1, with data of unit variance. :math:`\log p_\sigma(u) = -E(u)`, and the best
    denoiser is :math:`D = u - \sigma^2 \nabla E`. ``score``, a network without a density, has :math:`D = c\,u + k F`.

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
    kind: str = eqx.field(static=True)
    widths: tuple[int, ...] = eqx.field(static=True)

    def __init__(self, key: PRNGKeyArray, kind: str = "dot", widths: tuple[int, ...] = (16, 32, 48)):
        if kind not in KINDS:
            raise ConfigError(f"kind is {kind!r}; choose one of {', '.join(KINDS)}.")
        keys = iter(jax.random.split(key, 8 * len(widths) + 8))
        pairs = list(pairwise(widths))
        self.kind, self.widths = kind, tuple(widths)
        self.embed = Dense(16, _NUM_NOISE, next(keys))
        self.stem = Convolution(4 * 5, widths[0], next(keys))
        self.left = [Block(width, _NUM_NOISE, next(keys)) for width in widths[:-1]]
        self.down = [Dense(4 * fine, coarse, next(keys)) for fine, coarse in pairs]
        self.bottom = [Block(widths[-1], _NUM_NOISE, next(keys)) for _ in range(2)]
        self.up = [Dense(coarse, 4 * fine, next(keys), gain=0.5) for fine, coarse in pairs]
        self.right = [Block(width, _NUM_NOISE, next(keys)) for width in widths[:-1]]
        self.image_head = Convolution(widths[0], 4, next(keys), gain=0.1)
        self.scalar_heads = [Dense(width, 1, next(keys), gain=0.1) for width in widths]

    def energy(
        self,
        u: Float[Array, "y x"],
        mask: Float[Array, "y x"],
        noise_level: Float[Array, ""],
        as_product: bool = True,
    ) -> Float[Array, ""]:
        """Return the energy.

        Parameters
        ----------
        u
            Sides are multiples of `STRIDE`.
        mask
            1 inside the box, 0 in the padding, where u does not count.
        noise_level
            sigma, in u.
        as_product
            How convolutions are written; see `Convolution`.
        """
        u, variance = u * mask, noise_level**2
        drop, gain = variance / (1 + variance), noise_level / jnp.sqrt(1 + variance)
        image, scalar = self._features(u, mask, noise_level, as_product)
        if self.kind == "square":
            return (jnp.sum((drop * u - gain * image) ** 2) - gain * scalar) / (2 * variance)
        if self.kind == "dot":
            scalar = scalar + jnp.sum(u * image)
        return (drop * jnp.sum(u**2) - gain * scalar) / (2 * variance)

    def denoise(
        self,
        u: Float[Array, "y x"],
        mask: Float[Array, "y x"],
        noise_level: Float[Array, ""],
        as_product: bool = True,
    ) -> Float[Array, "y x"]:
        """Return the expected image without noise; as `energy`."""
        variance = noise_level**2
        if self.kind == "score":
            image, _ = self._features(u * mask, mask, noise_level, as_product)
            return (u / (1 + variance) + noise_level / jnp.sqrt(1 + variance) * image) * mask
        return (u - variance * jax.grad(self.energy)(u, mask, noise_level, as_product)) * mask

    def _features(self, u, mask, noise_level, as_product):
        """Return the image F and the scalar g."""
        noise = silu(self.embed(_waves(jnp.log(noise_level))))
        masks = [to_depth(mask[..., None]).max(axis=-1, keepdims=True)]
        x = self.stem(to_depth(_inputs(u, mask, noise_level)), as_product) * masks[0]
        skipped = []
        for block, down in zip(self.left, self.down, strict=True):
            x = block(x, noise, masks[-1], as_product)
            skipped.append(x)
            masks.append(to_depth(masks[-1]).max(axis=-1, keepdims=True))
            x = down(to_depth(x)) * masks[-1]
        for block in self.bottom:
            x = block(x, noise, masks[-1], as_product)
        scalar = jnp.sum(self.scalar_heads[-1](x) * masks[-1])
        for level in reversed(range(len(self.right))):
            x = (skipped[level] + to_space(self.up[level](x))) * masks[level]
            x = self.right[level](x, noise, masks[level], as_product)
            scalar = scalar + jnp.sum(self.scalar_heads[level](x) * masks[level])
        return to_space(self.image_head(x, as_product))[..., 0] * mask, scalar


def _waves(log_noise: Float[Array, ""]) -> Float[Array, " n"]:
    """Return the noise level as waves of its logarithm."""
    frequencies = jnp.asarray(np.arange(8) * 0.5 + 0.25, log_noise.dtype)
    return jnp.concatenate([jnp.cos(frequencies * log_noise), jnp.sin(frequencies * log_noise)])


def _inputs(u, mask, noise_level) -> Float[Array, "y x 5"]:
    """Return what the network sees: the image in two scalings, the mask, and the distance from the center in pixels.

    The center is that of the box, wherever it lies in the padding.
    """
    y, x = (jnp.arange(n, dtype=u.dtype) for n in u.shape)
    count = jnp.sum(mask)
    middle_y, middle_x = jnp.sum(mask * y[:, None]) / count, jnp.sum(mask * x) / count
    radius = jnp.sqrt((y[:, None] - middle_y) ** 2 + (x - middle_x) ** 2)
    planes = [
        u / jnp.sqrt(1 + noise_level**2),
        jnp.arcsinh(u / noise_level),
        jnp.ones_like(u),
        jnp.arcsinh(radius / 2) / 2,
        jnp.exp(-((radius / 3) ** 2)),
    ]
    return jnp.stack(planes, axis=-1) * mask[..., None]


def padded_side(side: int) -> int:
    """Return the least multiple of `STRIDE` that holds a side."""
    return -(-side // STRIDE) * STRIDE

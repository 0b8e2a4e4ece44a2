"""Draws from a prior known at every noise level: noise that is removed step by step."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

_CURVATURE = 7.0


def noise_levels_down(largest: float, smallest: float, num_steps: int) -> Float[np.ndarray, " level"]:
    r"""Return noise levels from the largest to the smallest, even in :math:`\sigma^{1/7}`.

    References
    ----------
    Karras et al. (2022), arXiv:2206.00364, eq. 5.
    """
    ends = np.array([largest, smallest]) ** (1 / _CURVATURE)
    return np.linspace(*ends, num_steps + 1) ** _CURVATURE


def draw_from_noise(
    denoise: Callable[[Float[Array, "*s"], Float[Array, ""]], Float[Array, "*s"]],
    noise: Float[Array, "*s"],
    levels: Float[np.ndarray, " level"],
) -> Float[Array, "*s"]:
    r"""Return the image that unit noise becomes: at the first level, then down to the last by `remove_noise`.

    At the first level images are noise and the mean image, :math:`\sigma\epsilon + D(\sigma\epsilon, \sigma)`: the
    mean of galaxies is not small beside their scatter, and what the flow begins without it ends without.
    """
    start = jnp.asarray(levels[0], noise.dtype) * noise
    return remove_noise(denoise, start + denoise(start, jnp.asarray(levels[0], noise.dtype)), levels)


def remove_noise(
    denoise: Callable[[Float[Array, "*s"], Float[Array, ""]], Float[Array, "*s"]],
    start: Float[Array, "*s"],
    levels: Float[np.ndarray, " level"],
) -> Float[Array, "*s"]:
    r"""Move images from the first noise level to the last along the probability flow.

    .. math:: \frac{du}{d\sigma} = \frac{u - D(u, \sigma)}{\sigma}

    by Heun's rule, two denoisings a step. The result has the last noise level, which is not 0: the distribution of
    images with that much noise left.

    References
    ----------
    Karras et al. (2022), arXiv:2206.00364, algorithm 1.
    """
    levels = jnp.asarray(levels, start.dtype)

    def slope(u, level):
        return (u - denoise(u, level)) / level

    def step(index, u):
        level, following = levels[index], levels[index + 1]
        here = slope(u, level)
        there = slope(u + (following - level) * here, following)
        return u + (following - level) * (here + there) / 2

    return jax.lax.fori_loop(0, len(levels) - 1, step, start)

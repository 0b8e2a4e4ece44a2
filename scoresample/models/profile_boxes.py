"""Profiles of several galaxies, each in a box of its own, as one row of pixels.

What is written for each shape of box is compiled for each shape of box, for as long as all the rest of a scene.
"""

from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from scoresample.models.profile_shape import profile_of
from scoresample.models.soft_profile import log_light, logarithm_of_light

Boxes = tuple[tuple[int, int], ...]


def logarithms_of_profiles(
    z: Float[Array, "box 7"], boxes: Boxes, softening: float
) -> Float[Array, " pixel"]:
    r"""Return :math:`\log(S / s_0 + 1) / 0.1` of profiles, of the pixels of all boxes."""
    coefficients = jax.vmap(lambda z: profile_of(z).coefficients())(z)
    y, x = (jnp.asarray(place, z.dtype) for place in _places(boxes))
    return logarithm_of_light(log_light(spread(coefficients.T, sizes_of(boxes)), y, x), softening)


def sizes_of(boxes: Boxes) -> tuple[int, ...]:
    """Return how many pixels each box has."""
    return tuple(height * width for height, width in boxes)


def spread(values: Float[Array, "*k box"], sizes: tuple[int, ...]) -> Float[Array, "*k n"]:
    """Return values as often as ``sizes`` say.

    By a product with zeros and ones: its derivative is another, and does not add up numbers one by one.
    """
    return jnp.matmul(values, jnp.asarray(_of_box(sizes), values.dtype), precision="highest")


def split(row: Float[Array, " n"], sizes: tuple[int, ...]) -> list[Float[Array, " _"]]:
    """Return the parts of a row."""
    return jnp.split(row, np.cumsum(sizes)[:-1])


@cache
def _places(boxes: Boxes) -> tuple[np.ndarray, np.ndarray]:
    """Return y and x of all pixels, from the middle of their box."""
    grids = [np.mgrid[:height, :width].reshape(2, -1) for height, width in boxes]
    middles = [(np.array(box)[:, None] - 1) / 2 for box in boxes]
    y, x = np.concatenate([grid - middle for grid, middle in zip(grids, middles, strict=True)], axis=1)
    return y, x


@cache
def _of_box(sizes: tuple[int, ...]) -> Float[np.ndarray, "box n"]:
    """Return ones where a number belongs to a box, and zeros."""
    return np.repeat(np.eye(len(sizes)), sizes, axis=1)

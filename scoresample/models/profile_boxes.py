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

TILE = 64
"""Profiles are drawn on tiles of so many pixels of one box. What they need of a profile is read once for each tile:
each pixel with numbers of its own would be eight times as much to read as there is to draw."""


def logarithms_of_profiles(
    z: Float[Array, "box 7"], boxes: Boxes, softening: float
) -> Float[Array, " pixel"]:
    r"""Return :math:`\log(S / s_0 + 1) / 0.1` of profiles, of the pixels of all boxes."""
    coefficients = jax.vmap(lambda z: profile_of(z).coefficients())(z)
    y, x = (jnp.asarray(place, z.dtype) for place in _places(boxes))
    of_tiles = spread(coefficients.T, _tiles_of(boxes))[..., None]
    tiles = logarithm_of_light(log_light(of_tiles, y, x), softening)
    rows = split(tiles.ravel(), tuple(TILE * number for number in _tiles_of(boxes)))
    return jnp.concatenate([row[:size] for row, size in zip(rows, sizes_of(boxes), strict=True)])


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


def _tiles_of(boxes: Boxes) -> tuple[int, ...]:
    """Return how many tiles each box needs."""
    return tuple(-(-size // TILE) for size in sizes_of(boxes))


@cache
def _places(boxes: Boxes) -> tuple[Float[np.ndarray, "tile pixel"], Float[np.ndarray, "tile pixel"]]:
    """Return y and x of the pixels of all tiles, from the middle of their box; the middle beyond its last pixel."""
    places = []
    for (height, width), number in zip(boxes, _tiles_of(boxes), strict=True):
        grid = np.mgrid[:height, :width].reshape(2, -1) - (np.array([[height], [width]]) - 1) / 2
        places.append(np.pad(grid, ((0, 0), (0, number * TILE - height * width))))
    y, x = np.concatenate(places, axis=1).reshape(2, -1, TILE)
    return y, x


@cache
def _of_box(sizes: tuple[int, ...]) -> Float[np.ndarray, "box n"]:
    """Return ones where a number belongs to a box, and zeros."""
    return np.repeat(np.eye(len(sizes)), sizes, axis=1)

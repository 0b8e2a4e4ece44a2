"""Trees of arrays as flat vectors, and as named leaves."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PyTree, Shaped


def num_elements(tree: PyTree[Float[Array, "..."]]) -> int:
    """Return how many numbers all leaves have together."""
    return sum(jnp.size(leaf) for leaf in jax.tree.leaves(tree))


def flatten(tree: PyTree[Float[Array, "..."]]) -> tuple[Float[Array, " n"], Callable]:
    """Return all leaves in one vector, and the function that undoes it."""
    leaves, structure = jax.tree.flatten(tree)
    if not leaves:
        return jnp.zeros(0), lambda vector: jax.tree.unflatten(structure, [])
    shapes = [jnp.shape(leaf) for leaf in leaves]
    sizes = [jnp.size(leaf) for leaf in leaves]
    dtype = jnp.result_type(*leaves)

    def unflatten(vector: Float[Array, " n"]) -> PyTree[Float[Array, "..."]]:
        parts, begin = [], 0
        for shape, size in zip(shapes, sizes, strict=True):
            parts.append(vector[begin : begin + size].reshape(shape))
            begin += size
        return jax.tree.unflatten(structure, parts)

    return jnp.concatenate([jnp.ravel(leaf).astype(dtype) for leaf in leaves]), unflatten


def named_leaves(position: PyTree) -> dict[str, Shaped[np.ndarray, "..."]]:
    """Return the leaves of a position by their path in it, such as ``shape.radius``; a bare array is ``x``."""
    paths, _ = jax.tree.flatten_with_path(position)
    return {
        jax.tree_util.keystr(path, simple=True, separator=".") or "x": np.asarray(leaf)
        for path, leaf in paths
    }

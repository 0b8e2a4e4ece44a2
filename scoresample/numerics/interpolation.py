"""Smooth interpolation in regular tables."""

import jax.numpy as jnp
from jaxtyping import Array, Float


def _cubic_weights(t: Float[Array, "*s"]) -> tuple[Float[Array, "*s"], ...]:
    """Return the Catmull-Rom weights of the four neighbours for the fraction ``t`` in [0, 1]."""
    return (
        0.5 * t * (t * (2 - t) - 1),
        0.5 * (t * t * (3 * t - 5) + 2),
        0.5 * t * (t * (4 - 3 * t) + 1),
        0.5 * t * t * (t - 1),
    )


def interpolate_rows(
    table: Float[Array, "rows columns"], row: Float[Array, ""], column: Float[Array, "*s"]
) -> Float[Array, "*s"]:
    """Interpolate a table at one fractional row and many fractional columns.

    Catmull-Rom cubics in both directions: value and first derivative are continuous, exact at the nodes.
    Indices outside the table are clamped to its edge.

    Returns
    -------
    The interpolated values, shaped like ``column``.
    """
    row = jnp.clip(row, 0, table.shape[0] - 1)
    i = jnp.clip(jnp.floor(row).astype(int), 0, table.shape[0] - 2)
    near = [table[jnp.clip(i + d, 0, table.shape[0] - 1)] for d in (-1, 0, 1, 2)]
    line = sum(w * r for w, r in zip(_cubic_weights(row - i), near, strict=True))
    column = jnp.clip(column, 0, table.shape[1] - 1)
    j = jnp.clip(jnp.floor(column).astype(int), 0, table.shape[1] - 2)
    values = [line[jnp.clip(j + d, 0, table.shape[1] - 1)] for d in (-1, 0, 1, 2)]
    return sum(w * v for w, v in zip(_cubic_weights(column - j), values, strict=True))

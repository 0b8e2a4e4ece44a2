"""Chains in threads of their own: what is inside of a compiled loop runs on one core."""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Int


def groups_of_chains(num_chains: int, together: bool) -> list[Int[Array, " chain"]]:
    """Return which chains advance in one call of compiled code.

    On a CPU loops run on one core, Fourier transforms and products of matrices inside of them too, so that chains are
    quicker apart, each in a thread. The groups do not depend on how many cores there are, and so neither do the draws.
    Elsewhere, or where chains learn scales from each other (``together``), all are in one.
    """
    chains = jnp.arange(num_chains)
    if together or jax.default_backend() != "cpu":
        return [chains]
    return [chains[k : k + 1] for k in range(num_chains)]


def part_of(tree, chosen: Int[Array, " chain"] | slice):
    """Return some of what is along the first axis of all arrays."""
    return jax.tree.map(lambda leaf: leaf[chosen], tree)


def join(parts: list[Any], axis: int):
    """Return what groups gave, or what steps did, as one along an axis."""
    return parts[0] if len(parts) == 1 else jax.tree.map(lambda *some: jnp.concatenate(some, axis), *parts)


def mean_of(parts: list[Any]):
    """Return the mean of what groups learned, each for itself."""
    if len(parts) == 1:
        return parts[0]
    return jax.tree.map(lambda *some: (sum(some) / len(some)).astype(some[0].dtype), *parts)

"""Groups of chains in threads of their own: what is inside of a compiled loop runs on one core."""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Int

from scoresample.numerics.threads import num_cores


def groups_of_chains(num_chains: int, together: bool) -> list[Int[Array, " chain"]]:
    """Return which chains advance in one call of compiled code.

    On a CPU loops run on one core, Fourier transforms and products of matrices inside of them too. So there are as many
    groups as cores, each in a thread, or the most that are equally large; chains of one group share what is read for
    products of matrices. Draws of other groups differ by rounding, which grows along chains. On accelerators, or where
    chains learn scales from each other (``together``), all are in one.
    """
    chains = jnp.arange(num_chains)
    if together or jax.default_backend() != "cpu":
        return [chains]
    most = min(num_chains, num_cores())
    number = next(count for count in range(most, 0, -1) if num_chains % count == 0)
    return list(chains.reshape(number, -1))


def part_of(tree, chosen: Int[Array, " chain"] | slice):
    """Return some of what is along the first axis of all arrays."""
    return jax.tree.map(lambda leaf: leaf[chosen], tree)


def join(parts: list[Any], axis: int):
    """Return what groups gave, or what steps did, as one along an axis."""
    return parts[0] if len(parts) == 1 else jax.tree.map(lambda *some: jnp.concatenate(some, axis), *parts)


def mean_of(parts: list[Any]):
    """Return the mean of what groups learned, each for itself; counts are the same in all of them."""
    if len(parts) == 1:
        return parts[0]
    mean = lambda *some: (sum(some) / len(some)).astype(some[0].dtype)
    return jax.tree.map(lambda *some: some[0] if some[0].dtype.kind == "i" else mean(*some), *parts)

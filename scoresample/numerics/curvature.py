"""Curvature of a function without ever forming its Hessian."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

Gradient = Callable[[Float[Array, " n"]], Float[Array, " n"]]


def hessian_vector(gradient: Gradient, x: Float[Array, " n"], v: Float[Array, " n"]) -> Float[Array, " n"]:
    """Return the Jacobian of ``gradient`` at ``x`` times ``v``, at about twice the cost of a gradient."""
    return jax.jvp(gradient, (x,), (v,))[1]


def lanczos(
    matvec: Gradient, start: Float[Array, " n"], num_steps: int
) -> tuple[Float[Array, " k"], Float[Array, "n k"], Float[Array, " k"]]:
    r"""Return Ritz values and vectors of a symmetric operator, those at the ends of the spectrum first to converge.

    Every new vector is orthogonalized twice against all earlier ones, as rounding demands
    (Parlett 1998, The Symmetric Eigenvalue Problem, sec. 13.8).

    Parameters
    ----------
    matvec
        Multiplies by the operator.
    start
        A random vector; must not be zero.
    num_steps
        k, at most n.

    Returns
    -------
    Ritz values in ascending order, orthonormal Ritz vectors, and the residual norm of each pair.
    """
    size = start.shape[0]
    basis = jnp.zeros((num_steps + 1, size), start.dtype).at[0].set(start / jnp.linalg.norm(start))

    def step(carry, index):
        basis = carry
        vector = basis[index]
        image = matvec(vector)
        diagonal = jnp.dot(vector, image)
        for _ in range(2):
            image = image - (basis @ image) @ basis
        length = jnp.linalg.norm(image)
        # An invariant subspace is exhausted where nothing is left; a zero vector then ends the recursion.
        alive = length > 1e-6 * (jnp.abs(diagonal) + 1e-30)
        follower = jnp.where(alive, image / jnp.where(alive, length, 1.0), 0.0)
        return basis.at[index + 1].set(follower), (diagonal, jnp.where(alive, length, 0.0))

    basis, (diagonal, off_diagonal) = jax.lax.scan(step, basis, jnp.arange(num_steps))
    tridiagonal = jnp.diag(diagonal) + jnp.diag(off_diagonal[:-1], 1) + jnp.diag(off_diagonal[:-1], -1)
    values, rotation = jnp.linalg.eigh(tridiagonal)
    return values, basis[:-1].T @ rotation, jnp.abs(off_diagonal[-1] * rotation[-1])


def hutchinson_diagonal(
    key: PRNGKeyArray, matvec: Gradient, size: int, num_probes: int, dtype=None
) -> tuple[Float[Array, " n"], Float[Array, " n"]]:
    r"""Estimate the diagonal of an operator by :math:`E[z \odot A z]` over Rademacher probes z.

    Returns
    -------
    The estimate, and its standard error from the scatter of the probes.
    """
    probes = jax.random.rademacher(key, (num_probes, size)).astype(dtype or jnp.result_type(float))
    products = jax.lax.map(lambda z: z * matvec(z), probes)
    error = jnp.std(products, axis=0, ddof=1) / jnp.sqrt(num_probes)
    return jnp.mean(products, axis=0), error

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
    basis, (projected,), left = lanczos_of_sum(lambda v: matvec(v)[None], start, num_steps)
    values, rotation = jnp.linalg.eigh(projected)
    return values, basis.T @ rotation, jnp.abs(left * rotation[-1])


def lanczos_of_sum(
    products: Callable[[Float[Array, " n"]], Float[Array, "part n"]],
    start: Float[Array, " n"],
    num_steps: int,
) -> tuple[Float[Array, "k n"], Float[Array, "part k k"], Float[Array, ""]]:
    """Return what `lanczos` on a sum of symmetric operators finds, and how each of them acts there.

    Parameters
    ----------
    products
        Multiplies by each of the operators.
    start, num_steps
        See `lanczos`.

    Returns
    -------
    An orthonormal basis of the directions in which the sum was followed, in rows; each operator projected on these;
    and the length of what the sum has beyond the last.
    """
    size = start.shape[0]
    basis = jnp.zeros((num_steps + 1, size), start.dtype).at[0].set(start / jnp.linalg.norm(start))

    def step(basis, index):
        images = products(basis[index])
        projected = images @ basis.T  # later rows are 0: what is above the diagonal
        image = jnp.sum(images, axis=0)
        diagonal = jnp.dot(basis[index], image)
        for _ in range(2):
            image = image - (basis @ image) @ basis
        length = jnp.linalg.norm(image)
        # An invariant subspace is exhausted where nothing is left; a zero vector then ends the recursion.
        alive = length > 1e-6 * (jnp.abs(diagonal) + 1e-30)
        follower = jnp.where(alive, image / jnp.where(alive, length, 1.0), 0.0)
        return basis.at[index + 1].set(follower), (projected[:, :-1], jnp.where(alive, length, 0.0))

    basis, (projected, lengths) = jax.lax.scan(step, basis, jnp.arange(num_steps))
    lower = jnp.moveaxis(projected, 1, 0)  # of a part, row j has its products with the basis up to j
    whole = lower + jnp.swapaxes(jnp.tril(lower, -1), 1, 2)
    return basis[:-1], whole, lengths[-1]


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

"""Linear maps between whitened and physical coordinates."""

from collections.abc import Callable, Sequence

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import scipy.linalg
import scipy.sparse.linalg
from jaxtyping import Array, Float


class LowRankScale(eqx.Module):
    r"""A square root of a low-rank-plus-diagonal covariance, cheap to apply and to invert.

    .. math:: L = D\,(I + Q\,(\mathrm{diag}(s) - I)\,Q^T), \qquad \Sigma = L L^T

    With ``D`` diagonal and ``Q`` orthonormal columns, applying or inverting costs O(n r).

    Parameters
    ----------
    diagonal
        :math:`D > 0`, in the units of the physical coordinates.
    directions
        :math:`Q`, orthonormal columns.
    stretch
        :math:`s > 0`: the factor along each direction, 1 everywhere else.
    """

    diagonal: Float[Array, " n"]
    directions: Float[Array, "n r"]
    stretch: Float[Array, " r"]

    def apply(self, z: Float[Array, " n"]) -> Float[Array, " n"]:
        """Return ``L z``: whitened to physical."""
        return self.diagonal * (z + self.directions @ ((self.stretch - 1) * (z @ self.directions)))

    def apply_transpose(self, x: Float[Array, " n"]) -> Float[Array, " n"]:
        """Return ``L^T x``: a gradient in physical coordinates to one in whitened coordinates."""
        y = self.diagonal * x
        return y + self.directions @ ((self.stretch - 1) * (y @ self.directions))

    def inverse(self, x: Float[Array, " n"]) -> Float[Array, " n"]:
        """Return ``L^-1 x``: physical to whitened."""
        y = x / self.diagonal
        return y + self.directions @ ((1 / self.stretch - 1) * (y @ self.directions))

    def log_det(self) -> Float[Array, ""]:
        """Return ``log |det L|``."""
        return jnp.sum(jnp.log(self.diagonal)) + jnp.sum(jnp.log(self.stretch))

    @property
    def size(self) -> int:
        """Number of coordinates."""
        return self.diagonal.shape[0]


def identity_scale(size: int, dtype=None) -> LowRankScale:
    """Return the map that changes nothing."""
    return LowRankScale(jnp.ones(size, dtype), jnp.zeros((size, 0), dtype), jnp.ones(0, dtype))


def scale_from_covariance(
    factor: Float[np.ndarray, "n r"], variance: Float[np.ndarray, " n"]
) -> LowRankScale:
    r"""Return the scale of the covariance :math:`F F^T + \mathrm{diag}(v)`.

    With :math:`D = \sqrt v` and the thin SVD :math:`D^{-1} F = Q\,\mathrm{diag}(a)\,V^T`, the covariance is
    :math:`D (I + Q\,\mathrm{diag}(a^2) Q^T) D`, so :math:`s = \sqrt{1 + a^2}`.
    """
    diagonal = np.sqrt(variance)
    directions, amplitude, _ = np.linalg.svd(factor / diagonal[:, None], full_matrices=False)
    return LowRankScale(
        jnp.asarray(diagonal), jnp.asarray(directions), jnp.asarray(np.sqrt(1 + amplitude**2))
    )


class DenseScale(eqx.Module):
    """A square root of a covariance given in full, for the few hundred coordinates of one object.

    Parameters
    ----------
    matrix
        ``L``, upper triangular.
    """

    matrix: Float[Array, "n n"]

    def apply(self, z: Float[Array, " n"]) -> Float[Array, " n"]:
        """Return ``L z``: whitened to physical."""
        return self.matrix @ z

    def inverse(self, x: Float[Array, " n"]) -> Float[Array, " n"]:
        """Return ``L^-1 x``: physical to whitened."""
        return jax.scipy.linalg.solve_triangular(self.matrix, x, lower=False)

    @property
    def size(self) -> int:
        """Number of coordinates."""
        return self.matrix.shape[0]


class ProductScale(eqx.Module):
    """One square root after another, ``L = L_outer L_inner``.

    Parameters
    ----------
    outer, inner
        Of the same size.
    """

    outer: LowRankScale
    inner: LowRankScale

    def apply(self, z: Float[Array, " n"]) -> Float[Array, " n"]:
        """Return ``L z``: whitened to physical."""
        return self.outer.apply(self.inner.apply(z))

    def inverse(self, x: Float[Array, " n"]) -> Float[Array, " n"]:
        """Return ``L^-1 x``: physical to whitened."""
        return self.inner.inverse(self.outer.inverse(x))

    @property
    def size(self) -> int:
        """Number of coordinates."""
        return self.outer.size


def block_diagonal(scales: Sequence[LowRankScale]) -> LowRankScale:
    """Return the scale of independent groups of coordinates, one after another."""
    directions = scipy.linalg.block_diag(*(np.asarray(scale.directions) for scale in scales))
    return LowRankScale(
        jnp.concatenate([scale.diagonal for scale in scales]),
        jnp.asarray(directions),
        jnp.concatenate([scale.stretch for scale in scales]),
    )


def scale_of_posterior(
    prior: LowRankScale, information: Callable, num_directions: int, dtype
) -> ProductScale:
    r"""Return the scale of a prior after data, known along the directions that data know best.

    With the prior's square root L and the information A of the data, the covariance is
    :math:`L (I + L^T A L)^{-1} L^T`; of :math:`L^T A L` only the largest eigenvalues are kept.

    Parameters
    ----------
    prior
        L.
    information
        Maps a vector to A times it, in double precision.
    num_directions
        How many eigenvalues to keep.
    dtype
        Of the result.
    """
    root = jax.tree.map(lambda a: np.asarray(a, np.float64), prior)

    def matvec(v):
        w = (root.stretch - 1) * (v @ root.directions)
        x = information(root.diagonal * (v + root.directions @ w)) * root.diagonal
        return x + root.directions @ ((root.stretch - 1) * (x @ root.directions))

    shape, kind = (prior.size, prior.size), np.float64
    operator = scipy.sparse.linalg.LinearOperator(shape, matvec=matvec, dtype=kind)  # ty: ignore
    start = np.random.default_rng(0).normal(size=prior.size)
    values, directions = scipy.sparse.linalg.eigsh(operator, num_directions, which="LA", v0=start, tol=1e-2)
    stretch = 1 / np.sqrt(1 + np.maximum(values, 0))
    as_dtype = lambda a: jnp.asarray(a, dtype)
    inner = LowRankScale(jnp.ones(prior.size, dtype), as_dtype(directions), as_dtype(stretch))
    return ProductScale(jax.tree.map(as_dtype, prior), inner)


def dense_precision(scale: LowRankScale) -> Float[np.ndarray, "n n"]:
    r"""Return the inverse covariance :math:`(L L^T)^{-1}` of a low-rank scale in full, in double precision."""
    d, q, s = (np.asarray(a, float) for a in (scale.diagonal, scale.directions, scale.stretch))
    inner = (q * (s**-2 - 1)) @ q.T
    inner[np.diag_indices_from(inner)] += 1
    return inner / d[:, None] / d


def scale_from_precision(precision: Float[np.ndarray, "n n"], dtype) -> DenseScale:
    """Return the scale whose covariance is the inverse of a positive definite matrix."""
    lower = scipy.linalg.cholesky(precision, lower=True)
    inverse = scipy.linalg.solve_triangular(lower, np.eye(len(lower)), lower=True)
    return DenseScale(jnp.asarray(inverse.T, dtype))

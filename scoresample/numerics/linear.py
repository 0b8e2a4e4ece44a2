"""Linear maps between whitened and physical coordinates."""

from collections.abc import Callable, Sequence

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import scipy.linalg
from jaxtyping import Array, Float

from scoresample.numerics.arrays import to_jax


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

    def inverse_transpose(self, z: Float[Array, " n"]) -> Float[Array, " n"]:
        """Return ``L^-T z``: a gradient in whitened coordinates to one in physical coordinates."""
        return (z + self.directions @ ((1 / self.stretch - 1) * (z @ self.directions))) / self.diagonal

    def log_det(self) -> Float[Array, ""]:
        """Return ``log |det L|``."""
        return jnp.sum(jnp.log(self.diagonal)) + jnp.sum(jnp.log(self.stretch))

    @property
    def size(self) -> int:
        """Number of coordinates."""
        return self.diagonal.shape[0]


def identity_scale(size: int, dtype=None) -> LowRankScale:
    """Return the map that changes nothing."""
    dtype = jnp.result_type(float) if dtype is None else dtype
    return LowRankScale(*(to_jax(a, dtype) for a in (np.ones(size), np.zeros((size, 0)), np.ones(0))))


def scale_from_covariance(
    factor: Float[np.ndarray, "n r"], variance: Float[np.ndarray, " n"]
) -> LowRankScale:
    r"""Return the scale of the covariance :math:`F F^T + \mathrm{diag}(v)`.

    With :math:`D = \sqrt v` and the thin SVD :math:`D^{-1} F = Q\,\mathrm{diag}(a)\,V^T`, the covariance is
    :math:`D (I + Q\,\mathrm{diag}(a^2) Q^T) D`, so :math:`s = \sqrt{1 + a^2}`.
    """
    diagonal = np.sqrt(variance)
    directions, amplitude, _ = np.linalg.svd(factor / diagonal[:, None], full_matrices=False)
    return LowRankScale(to_jax(diagonal), to_jax(directions), to_jax(np.sqrt(1 + amplitude**2)))


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
        to_jax(directions),
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
        Maps columns (n, k) to A times them, in their precision; single is enough.
    num_directions
        How many eigenvalues to keep.
    dtype
        Of the result.
    """
    values, directions = leading_eigenvectors(
        whitened_by(prior, information), prior.size, num_directions, dtype=np.float32
    )
    as_dtype = lambda a: to_jax(a, dtype)
    stretch = 1 / np.sqrt(1 + np.maximum(values, 0))
    inner = LowRankScale(as_dtype(np.ones(prior.size)), as_dtype(directions), as_dtype(stretch))
    return ProductScale(jax.tree.map(as_dtype, prior), inner)


def whitened_by(prior: LowRankScale, information: Callable) -> Callable:
    r"""Return the product with :math:`L^T A L`, for columns, of a scale L and products with A, in its precision."""
    d, q, s = (np.asarray(a) for a in (prior.diagonal, prior.directions, prior.stretch))

    def product(v):
        v = d[:, None] * (v + q @ ((s - 1)[:, None] * (q.T @ v)))
        x = d[:, None] * information(v)
        return x + q @ ((s - 1)[:, None] * (q.T @ x))

    return product


def leading_eigenvectors(
    product: Callable, size: int, num: int, *, num_passes: int = 2, dtype=np.float64
) -> tuple[Float[np.ndarray, " num"], Float[np.ndarray, "size num"]]:
    """Return the largest eigenvalues of a symmetric matrix and their vectors, nearly, by randomized iteration.

    Many columns at a time, which is much faster here than one after another (Halko, Martinsson & Tropp 2011, SIAM
    Review 53, 217, sec. 4.5).

    Parameters
    ----------
    product
        Maps columns (size, k) to the matrix times them.
    size, num
        Of the matrix, and how many to find.
    num_passes
        Products with the matrix before the last; the more, the nearer.
    dtype
        Precision of the columns.
    """
    num_columns = min(size, num + num // 5 + 5)
    basis = np.linalg.qr(np.random.default_rng(0).normal(size=(size, num_columns)).astype(dtype))[0]
    for _ in range(num_passes):
        basis = np.linalg.qr(product(basis))[0]
    inside = basis.T @ product(basis)
    values, vectors = np.linalg.eigh(0.5 * (inside + inside.T))
    return values[-num:], basis @ vectors[:, -num:]


def dense_precision(scale: LowRankScale) -> Float[np.ndarray, "n n"]:
    r"""Return the inverse covariance :math:`(L L^T)^{-1}` of a low-rank scale in full, in double precision."""
    d, q, s = (np.asarray(a, float) for a in (scale.diagonal, scale.directions, scale.stretch))
    inner = (q * (s**-2 - 1)) @ q.T
    inner[np.diag_indices_from(inner)] += 1
    return inner / d[:, None] / d


def scale_from_precision(precision: Float[np.ndarray, "n n"], dtype) -> DenseScale:
    """Return the scale whose covariance is the inverse of a positive definite matrix."""
    lower = scipy.linalg.cholesky(precision, lower=True, overwrite_a=True)
    inverse, _ = scipy.linalg.lapack.dtrtri(lower, lower=True, overwrite_c=True)
    return DenseScale(to_jax(inverse.T, dtype))

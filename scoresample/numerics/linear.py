"""Linear maps between whitened and physical coordinates."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import scipy.linalg
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

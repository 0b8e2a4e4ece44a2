"""Fluxes are linear: given everything else, their posterior is Gaussian and they integrate out."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import jax.scipy.linalg
from jaxtyping import Array, Float, PRNGKeyArray


class FluxPosterior(NamedTuple):
    """The Gaussian posterior of all linear amplitudes, band by band, given the columns.

    Attributes
    ----------
    mean
        Posterior mean, (band, column).
    unit, cholesky
        The posterior precision is :math:`U^{-1} L L^T U^{-1}` with ``U = diag(unit)``; the unit diagonal
        keeps the factorization accurate in single precision.
    log_maximum
        Log of likelihood times amplitude prior at the mean, its maximum over the amplitudes.
    log_evidence
        Log of the same with the amplitudes integrated out. Both without the data's own constants.
    """

    mean: Float[Array, "band column"]
    unit: Float[Array, "band column"]
    cholesky: Float[Array, "band column column"]
    log_maximum: Float[Array, ""]
    log_evidence: Float[Array, ""]

    def draw(self, key: PRNGKeyArray) -> Float[Array, "band column"]:
        """Draw all amplitudes from their joint conditional posterior, exactly."""
        noise = jax.random.normal(key, self.mean.shape, self.mean.dtype)
        solve = jax.vmap(lambda c, z: jax.scipy.linalg.solve_triangular(c, z, lower=True, trans="T"))
        return self.mean + self.unit * solve(self.cholesky, noise)

    def covariance(self) -> Float[Array, "band column column"]:
        """Return the covariance between the columns in each band."""
        eye = jnp.eye(self.mean.shape[-1], dtype=self.mean.dtype)
        inverse = jax.vmap(lambda c: jax.scipy.linalg.cho_solve((c, True), eye))(self.cholesky)
        return self.unit[:, :, None] * inverse * self.unit[:, None, :]


def solve_fluxes(
    columns: Float[Array, "column band pixel"],
    data: Float[Array, "band pixel"],
    root_weight: Float[Array, "band pixel"],
    prior_mean: Float[Array, "band column"],
    prior_precision: Float[Array, "band column column"],
) -> FluxPosterior:
    r"""Solve for the amplitudes of linear columns and integrate them out.

    With :math:`G = M^T W M + \Lambda`, amplitudes have posterior :math:`N(\hat A, G^{-1})` and

    .. math:: \log p(Y | M) = -\tfrac12 \left[\sum w (Y - M\hat A)^2
              + (\hat A - \mu)^T \Lambda (\hat A - \mu) + \log\det G\right] + const

    per band. A flat prior has :math:`\Lambda = 0`. Evaluated through the residual, not as the difference of
    two large quadratic forms, which single precision would lose.

    Parameters
    ----------
    columns
        Image per unit amplitude.
    data, root_weight
        Pixels and the square root of their inverse variance.
    prior_mean, prior_precision
        :math:`\mu` and :math:`\Lambda` of the Gaussian prior.
    """
    design = jnp.moveaxis(columns, 0, 1) * root_weight[:, None, :]
    gram = jnp.einsum("bkp,blp->bkl", design, design) + prior_precision
    unit = 1 / jnp.sqrt(jnp.einsum("bkk->bk", gram))
    scaled = gram * unit[:, :, None] * unit[:, None, :]
    cholesky = jnp.linalg.cholesky(scaled)
    whitened = data * root_weight

    def pull(mean):
        return jnp.einsum("bkl,bl->bk", prior_precision, mean - prior_mean)

    def step(mean):
        residual = whitened - jnp.einsum("bk,bkp->bp", mean, design)
        gradient = jnp.einsum("bkp,bp->bk", design, residual) - pull(mean)
        move = jax.vmap(lambda c, g: jax.scipy.linalg.cho_solve((c, True), g))(cholesky, unit * gradient)
        return mean + unit * move

    mean = step(step(jnp.zeros_like(unit)))  # the second step mends the rounding of the first
    residual = whitened - jnp.einsum("bk,bkp->bp", mean, design)
    chi_squared = jnp.sum(residual**2) + jnp.sum((mean - prior_mean) * pull(mean))
    log_det = 2 * jnp.sum(jnp.log(jnp.einsum("bkk->bk", cholesky))) - 2 * jnp.sum(jnp.log(unit))
    return FluxPosterior(mean, unit, cholesky, -0.5 * chi_squared, -0.5 * (chi_squared + log_det))

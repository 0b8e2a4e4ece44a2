"""Fluxes are linear: given everything else, their posterior is Gaussian and they integrate out."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import jax.scipy.linalg
from jaxtyping import Array, Bool, Float, PRNGKeyArray


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
        return self.at(jax.random.normal(key, self.mean.shape, self.mean.dtype))

    def at(self, offsets: Float[Array, "band column"]) -> Float[Array, "band column"]:
        r"""Return the amplitudes :math:`\hat A + U L^{-T} q`: draws from this posterior for standard normal q."""
        solve = jax.vmap(lambda c, z: jax.scipy.linalg.solve_triangular(c, z, lower=True, trans="T"))
        return self.mean + self.unit * solve(self.cholesky, offsets)

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
    design = in_units_of_noise(columns, root_weight)
    return _solve(design, data * root_weight, prior_mean, prior_precision)


def log_evidence(
    columns: Float[Array, "column band pixel"],
    data: Float[Array, "band pixel"],
    root_weight: Float[Array, "band pixel"],
    prior_mean: Float[Array, "band column"],
    prior_precision: Float[Array, "band column column"],
    share: Float[Array, "object column"],
    scale_free: Bool[Array, "band object"],
) -> Float[Array, ""]:
    r"""Return the log evidence of `solve_fluxes`, under amplitudes that are flat in units of their errors.

    .. math:: \log p(Y | M) + \tfrac12 \sum_{bo} \log \sum_k s_{ok} |M_{kb}|_w^2

    with the second sum over the bands and objects that ``scale_free`` marks, and ``share`` s. Its derivative is written
    out, for half the cost: with residual r of the weighted design D,

    .. math:: \frac{\partial}{\partial D_{kp}} = \hat A_k r_p - \sum_l \Big[(G^{-1})_{kl}
              - \delta_{kl} \sum_o s_{ok} \Big/ \sum_m s_{om} |D_m|^2\Big] D_{lp}

    since :math:`\hat A` is where the likelihood times the prior is at its maximum.
    """
    design = in_units_of_noise(columns, root_weight)
    return _log_evidence(design, data * root_weight, prior_mean, prior_precision, share, scale_free)


@jax.custom_jvp
def _log_evidence(design, whitened, prior_mean, prior_precision, share, scale_free):
    solution = _solve(design, whitened, prior_mean, prior_precision)
    return solution.log_evidence + log_scale(design, share, scale_free)


@_log_evidence.defjvp
def _log_evidence_jvp(primals, tangents):
    design, whitened, prior_mean, prior_precision, share, scale_free = primals
    d_design, d_whitened, d_mean, d_precision, d_share, _ = tangents
    squares, own = _squares(design, share, scale_free)
    solution = _solve(design, whitened, prior_mean, prior_precision)
    value = solution.log_evidence + log_scale(design, share, scale_free)
    covariance = solution.covariance()
    residual = whitened - jnp.einsum("bk,bkp->bp", solution.mean, design)
    of_squares = jnp.where(scale_free, 1 / squares, 0)
    diagonal = (of_squares @ share)[:, :, None] * jnp.eye(design.shape[1], dtype=design.dtype)
    by_design = solution.mean[:, :, None] * residual[:, None] - (covariance - diagonal) @ design
    apart = solution.mean - prior_mean
    by_mean = jnp.einsum("bkl,bl->bk", prior_precision, apart)
    by_precision = -0.5 * (apart[:, :, None] * apart[:, None, :] + covariance)
    tangent = jnp.sum(by_design * d_design) - jnp.sum(residual * d_whitened) + jnp.sum(by_mean * d_mean)
    by_share = 0.5 * jnp.einsum("bo,bk->ok", of_squares, own)
    return value, tangent + jnp.sum(by_precision * d_precision) + jnp.sum(by_share * d_share)


def log_scale(
    design: Float[Array, "band column pixel"],
    share: Float[Array, "object column"],
    scale_free: Bool[Array, "band object"],
) -> Float[Array, ""]:
    """Return the second sum of `log_evidence`, for columns in units of the noise."""
    return 0.5 * jnp.sum(jnp.log(_squares(design, share, scale_free)[0]))


def in_units_of_noise(
    columns: Float[Array, "column band pixel"], root_weight: Float[Array, "band pixel"]
) -> Float[Array, "band column pixel"]:
    """Return the design D: columns times the square root of the inverse variance, band by band."""
    return jnp.moveaxis(columns, 0, 1) * root_weight[:, None, :]


def _squares(design, share, scale_free):
    """Return the mean square of the columns of each object, 1 where it does not count, and that of each column."""
    own = jnp.einsum("bkp,bkp->bk", design, design)
    return jnp.where(scale_free, own @ share.T, 1), own


def _solve(design, whitened, prior_mean, prior_precision) -> FluxPosterior:
    """Solve with columns and data in units of the noise, (band, column, pixel) and (band, pixel)."""
    gram = jnp.einsum("bkp,blp->bkl", design, design) + prior_precision
    unit = 1 / jnp.sqrt(jnp.einsum("bkk->bk", gram))
    scaled = gram * unit[:, :, None] * unit[:, None, :]
    cholesky = jnp.linalg.cholesky(scaled)

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

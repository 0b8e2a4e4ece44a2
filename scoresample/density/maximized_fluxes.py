"""The density whose maximum is the MAP of a scene: fluxes at their best instead of integrated out."""

from typing import TYPE_CHECKING

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from scoresample.density.climbed import AbstractClimbed
from scoresample.density.local_scale import scatter_cost
from scoresample.numerics.arrays import to_jax

if TYPE_CHECKING:
    from scoresample.density.posterior import Posterior

Position = dict[str, Float[Array, "..."]]


class MaximizedFluxes(AbstractClimbed):
    r"""A posterior with its fluxes at their maximum instead of integrated out.

    .. math:: \log p(u) + \max_A \Big[\log p(Y | u, A) + \log p(A) - \tfrac12 \sum_{bk} R_{bk} A_{bk}^2\Big]

    With p(u) as climbs take it (`AbstractLogPrior.climbed_log_prob`). Where that is the prior and R = 0, its maximum is
    that of the joint posterior of parameters and fluxes, flat ones in units of their errors. Under flat fluxes that
    maximum can be useless: two overlapping galaxies take on nearly the same image and fluxes a hundred times too large,
    of opposite sign, and the difference of their images follows the noise of a band. Such places have a high density
    and no volume; the density with the fluxes integrated out grows there without bound, as 1 / sqrt(det G). R counts
    what is lost there: images scatter, and large fluxes make their scatter a misfit (`local_scale.scatter_cost`). At
    its own fluxes each pixel costs at most half a nat.

    Where images cannot be negative, the same happens with a negative flux and a neighbour that is too bright. So
    fluxes :math:`\hat A` of flat priors that are negative by more than their errors :math:`\sigma`, if all others were
    known, cost :math:`\tfrac12 \sum (\hat A_{bk} / \sigma_{bk})_-^2`; backgrounds may be negative.

    Parameters
    ----------
    posterior
        With fluxes integrated out.
    restraint
        R.
    positive
        Which fluxes cost where they are negative.
    """

    posterior: "Posterior"
    restraint: Float[Array, "band column"]
    positive: Bool[Array, "band column"]

    def explicit(self, position: Position) -> Float[Array, ""]:
        posterior = self.posterior
        columns = posterior.columns(posterior.values(position))
        held = self.restraint[:, :, None] * jnp.eye(len(columns), dtype=columns.dtype)
        precision = posterior.flux_prior.precision + held
        solution = posterior.likelihood.solve(columns, posterior.flux_prior.mean, precision)
        below = jnp.where(self.positive, jnp.minimum(solution.mean / solution.unit, 0), 0)
        return (
            solution.log_maximum - 0.5 * jnp.sum(below**2) + posterior.explicit_prior(position, climbed=True)
        )


def maximized_fluxes(posterior: "Posterior") -> MaximizedFluxes:
    """Return the density of a posterior whose maximum `find_map` looks for.

    Fluxes with a prior of their own need no restraint.
    """
    mean = posterior.flux_prior.mean
    restraint, positive = np.zeros(mean.shape), np.zeros(mean.shape, bool)
    if posterior.flux_prior.is_flat:
        restraint = scatter_cost(posterior, posterior.initial_position())
        positive[:, : len(posterior.scene.sources)] = True
    return MaximizedFluxes(posterior, to_jax(restraint, mean.dtype), to_jax(positive))

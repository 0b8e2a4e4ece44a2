"""The density that is climbed to the MAP under a learned prior: fluxes are held."""

from typing import TYPE_CHECKING

from jaxtyping import Array, Float

from scoresample.density.climbed import AbstractClimbed

if TYPE_CHECKING:
    from scoresample.density.posterior import Posterior

Position = dict[str, Float[Array, "..."]]


class HeldFluxes(AbstractClimbed):
    r"""A posterior given its fluxes.

    .. math:: \log p(u) + \log p(Y | u, A)

    Under a learned prior the maximum over images and fluxes together says nothing. A galaxy of a simple kind has a
    density higher by a hundred nats and more than one with structure, of which there are more: at the maximum the
    brightest galaxies have no flux and the simplest of images, and companions in the images of their neighbours, at a
    hundred nats each, show their light. Next to none of the mass is there. Given fluxes near the right ones, images
    have to fit the data.

    Parameters
    ----------
    posterior
        With fluxes integrated out.
    flux
        Of the columns, in the frame's unit, and the background.
    """

    posterior: "Posterior"
    flux: Float[Array, "band column"]

    def explicit(self, position: Position) -> Float[Array, ""]:
        posterior = self.posterior
        fit = posterior.likelihood.log_prob_at(posterior.values(position), self.flux)
        return fit + posterior.explicit_prior(position, climbed=True)

"""The Gaussian likelihood of an observation, with fluxes given or integrated out."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from scoresample.data.observation import Observation
from scoresample.density.fluxes import FluxPosterior, solve_fluxes
from scoresample.models.rendering import Renderer, make_renderer
from scoresample.models.scene import Scene


class Likelihood(eqx.Module):
    r"""Pixels are a linear model of the amplitudes, plus Gaussian noise of known inverse variance w.

    .. math:: \log L = -\tfrac12 \sum_{b,p} w_{bp} \Big(Y_{bp} - \sum_k A_{kb} M_{kbp}\Big)^2

    The columns M are the sources rendered with unit flux, and, with a background, a column of ones.
    Pixels with w = 0 carry no data.

    Attributes
    ----------
    data, root_weight
        Pixels and the square root of their inverse variance.
    unseen
        Amplitudes no pixel knows of, (band, column); reported as missing.
    membership
        Index of the object that each source is a component of.
    """

    renderer: Renderer
    data: Float[Array, "band pixel"]
    root_weight: Float[Array, "band pixel"]
    unseen: Bool[Array, "band column"]
    background: bool = eqx.field(static=True)
    membership: tuple[int, ...] = eqx.field(static=True)

    def columns(self, values: dict[str, Array], unit_flux: bool = True) -> Float[Array, "column band pixel"]:
        """Return the image of each amplitude per unit of it: of flux, or of the morphology as it stands."""
        columns = self.renderer.columns(values, unit_flux)
        columns = columns.reshape(*columns.shape[:2], -1)
        if self.background:
            columns = jnp.concatenate([columns, jnp.ones_like(columns[:1])])
        return columns

    def solve(
        self,
        columns: Float[Array, "column band pixel"],
        prior_mean: Float[Array, "band column"],
        prior_precision: Float[Array, "band column column"],
    ) -> FluxPosterior:
        """Return the posterior of the amplitudes, and the likelihood without them."""
        return solve_fluxes(columns, self.data, self.root_weight, prior_mean, prior_precision)

    def object_fluxes(
        self, columns: Float[Array, "column band pixel"], amplitudes: Float[Array, "band column"]
    ) -> Float[Array, "object band"]:
        """Return the total of each object inside the frame after convolution, summed over its sources."""
        num_sources = len(self.membership)
        inside = jnp.sum(columns[:num_sources], axis=-1)
        totals = inside * amplitudes[:, :num_sources].T
        return jax.ops.segment_sum(totals, np.asarray(self.membership), max(self.membership) + 1)

    def log_prob(
        self, columns: Float[Array, "column band pixel"], amplitudes: Float[Array, "band column"]
    ) -> Float[Array, ""]:
        """Return the log-likelihood at given amplitudes."""
        residual = self.data - jnp.einsum("bk,kbp->bp", amplitudes, columns)
        return -0.5 * jnp.sum((residual * self.root_weight) ** 2)


@eqx.filter_jit
def fit_fluxes(likelihood: Likelihood, values: dict[str, Array]) -> FluxPosterior:
    """Return the fit of fluxes with given morphologies; its ``unit`` are the errors if all other fluxes were known.

    Fluxes that no pixel knows of are 0, with an error of 1.
    """
    columns = likelihood.columns(values)
    held = likelihood.unseen.astype(columns.dtype)
    return likelihood.solve(columns, jnp.zeros_like(held), held[:, :, None] * jnp.eye(held.shape[1]))


def make_likelihood(scene: Scene, observation: Observation) -> Likelihood:
    """Return the likelihood of an observation under scenes like this one."""
    images = observation.images
    weights = observation.inverse_variance
    return Likelihood(
        renderer=make_renderer(scene, np.asarray(observation.psfs)),
        data=images.reshape(images.shape[0], -1),
        root_weight=jnp.sqrt(weights).reshape(images.shape[0], -1),
        unseen=jnp.asarray(_unseen(scene, np.asarray(weights))),
        background=scene.background is not None,
        membership=scene.membership,
    )


def _unseen(scene: Scene, weights: np.ndarray) -> np.ndarray:
    """Return which amplitudes have no pixel with weight inside the box of their source."""
    unseen = []
    for source in scene.sources:
        y, x = (
            slice(max(0, int(o)), max(0, int(o) + n))
            for o, n in zip(source.origin, source.shape, strict=True)
        )
        unseen.append(~(weights[:, y, x] > 0).any(axis=(1, 2)))
    if scene.background is not None:
        unseen.append(~(weights > 0).any(axis=(1, 2)))
    return np.stack(unseen, axis=1)

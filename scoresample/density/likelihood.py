"""The Gaussian likelihood of an observation, with fluxes given or integrated out."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from scoresample.data.catalog import LEAST_SEEN
from scoresample.data.observation import Observation
from scoresample.density.fluxes import FluxPosterior, solve_fluxes
from scoresample.models.rendering import Renderer, make_renderer
from scoresample.models.scene import Scene
from scoresample.models.summed_rendering import SummedRenderer, make_summed_renderer
from scoresample.numerics.arrays import to_jax
from scoresample.numerics.compiling import jit_to_run_once


class Likelihood(eqx.Module):
    r"""Pixels are a linear model of the amplitudes, plus Gaussian noise of known inverse variance w.

    .. math:: \log L = -\tfrac12 \sum_{b,p} w_{bp} \Big(Y_{bp} - \sum_k A_{kb} M_{kbp}\Big)^2

    The columns M are the sources rendered with unit flux, and, with a background, a column of ones.
    Pixels with w = 0 carry no data.

    Attributes
    ----------
    renderer, together
        Draw the sources one by one, and all at given amplitudes.
    data, root_weight
        Pixels and the square root of their inverse variance.
    unseen
        Amplitudes no pixel knows of, (band, column); reported as missing. No pixel of the source's box has data, or all
        that have show less than a millionth of its squared image.
    membership
        Index of the object that each source is a component of.
    """

    renderer: Renderer
    together: SummedRenderer
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
        """Return the log-likelihood at given amplitudes of columns."""
        return self._of_model(jnp.einsum("bk,kbp->bp", amplitudes, columns))

    def log_prob_at(
        self, values: dict[str, Array], amplitudes: Float[Array, "band column"], unit_flux: bool = True
    ) -> Float[Array, ""]:
        """Return the log-likelihood at given amplitudes, without an image of each source."""
        num_sources = len(self.membership)
        model = self.together.image(values, amplitudes[:, :num_sources], unit_flux)
        model = model.reshape(len(model), -1)
        return self._of_model(model + amplitudes[:, num_sources:] if self.background else model)

    def _of_model(self, model: Float[Array, "band pixel"]) -> Float[Array, ""]:
        return -0.5 * jnp.sum(((self.data - model) * self.root_weight) ** 2)


@jit_to_run_once
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
    renderer = make_renderer(scene, np.asarray(observation.psfs))
    unseen = _no_data_in_box(scene, np.asarray(weights))
    if _a_center_is_dark(scene, np.asarray(weights)):  # else the light is seen, and need not be rendered
        unseen |= np.asarray(_hardly_seen(renderer, scene.parameters, weights))
    if scene.background is not None:
        unseen = np.concatenate([unseen, ~(np.asarray(weights) > 0).any(axis=(1, 2))[:, None]], axis=1)
    return Likelihood(
        renderer=renderer,
        together=make_summed_renderer(renderer, scene, np.asarray(observation.psfs)),
        data=to_jax(np.asarray(images).reshape(images.shape[0], -1)),
        root_weight=to_jax(np.sqrt(weights).reshape(images.shape[0], -1)),
        unseen=to_jax(unseen),
        background=scene.background is not None,
        membership=scene.membership,
    )


def _no_data_in_box(scene: Scene, weights: np.ndarray) -> Bool[np.ndarray, "band source"]:
    """Return which sources have no pixel with weight in their box."""
    unseen = []
    for source in scene.sources:
        y, x = (
            slice(max(0, int(o)), max(0, int(o) + n))
            for o, n in zip(source.origin, source.shape, strict=True)
        )
        unseen.append(~(weights[:, y, x] > 0).any(axis=(1, 2)))
    return np.stack(unseen, axis=1)


def _a_center_is_dark(scene: Scene, weights: np.ndarray) -> bool:
    """Return whether the central pixel of some source has no data in some band."""
    shape = np.asarray(weights.shape[1:])
    at = [np.clip(np.round(np.asarray(source.center)), 0, shape - 1).astype(int) for source in scene.sources]
    return any((weights[:, y, x] == 0).any() for y, x in at)


@jit_to_run_once
def _hardly_seen(
    renderer: Renderer, values: dict[str, Array], weights: Float[Array, "band y x"]
) -> Bool[Array, "band source"]:
    """Return which sources have less than `LEAST_SEEN` of the square of their first image on pixels with data."""
    squares = renderer.columns(values, True) ** 2
    squares = squares.reshape(*squares.shape[:2], *weights.shape[1:])
    seen = jnp.sum(squares, axis=(2, 3), where=weights > 0)
    return (seen < LEAST_SEEN * jnp.sum(squares, axis=(2, 3))).T

"""The numbers of a flux catalog, from draws."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from scoresample.data.values import Numbers
from scoresample.density.base import Position
from scoresample.density.posterior import Posterior
from scoresample.diagnostics.convergence import chain_shape
from scoresample.errors import ConfigError
from scoresample.numerics.spread import spread_indices
from scoresample.products.objects import first_sources
from scoresample.samplers.base import Draws

LEVELS = {"p025": 0.025, "p16": 0.16, "p50": 0.5, "p84": 0.84, "p975": 0.975}
"""Quantiles in the catalog by the end of their name."""


class ObjectImages(NamedTuple):
    """Images as observed, after convolution, in the frame's unit: one for each object, and the background."""

    objects: Float[np.ndarray, "object band y x"]
    background: Float[np.ndarray, " band"]

    @property
    def model(self) -> Float[np.ndarray, "band y x"]:
        """The whole scene."""
        return self.objects.sum(axis=0) + self.background[:, None, None]


def flux_samples(draws: Draws) -> Float[np.ndarray, "draw object band"]:
    """Return the flux draws of all chains, one after the other."""
    flux = np.asarray(draws.derived["flux"], np.float64)
    return flux.reshape(-1, *flux.shape[2:])


def flux_covariance(samples: Float[np.ndarray, "draw object band"]) -> Float[np.ndarray, "object band band"]:
    """Return the covariance between the bands of each object."""
    centered = samples - samples.mean(axis=0)
    return np.einsum("nkb,nkc->kbc", centered, centered) / max(len(samples) - 1, 1)


def variance_from_neighbours(
    samples: Float[np.ndarray, "draw object band"],
) -> Float[np.ndarray, "object band"]:
    r"""Return the share of each flux variance that is there because the other fluxes are uncertain.

    .. math:: 1 - \frac{1 / (C_b^{-1})_{kk}}{C_{b,kk}}

    with C_b the posterior covariance between the fluxes of all objects in band b: one minus the variance of
    flux k with all others known, over its full variance. 0 for an isolated object, near 1 where two
    objects can trade their light. NaN where draws are not finite, constant, or no more than objects.
    """
    num_draws, num_objects, num_bands = samples.shape
    share = np.full((num_objects, num_bands), np.nan)
    for b in range(num_bands):
        spread = samples[:, :, b].std(axis=0)
        usable = np.isfinite(spread) & (spread > 0)
        if num_draws <= usable.sum() or not usable.any():
            continue
        # Of the correlation matrix, since its inverse has diagonal C_kk (C^-1)_kk whatever the units.
        correlation = np.corrcoef(samples[:, usable, b], rowvar=False).reshape(usable.sum(), -1)
        share[usable, b] = np.clip(1 - 1 / np.diag(np.linalg.pinv(correlation, hermitian=True)), 0, 1)
    return share


def blendedness(images: Float[np.ndarray, "object band y x"]) -> Float[np.ndarray, " object"]:
    r"""Return how much each object lies under the others.

    .. math:: \beta_k = 1 - \frac{S_k \cdot S_k}{S \cdot S_k}, \qquad S = \sum_k S_k

    with the images summed over bands (source paper, eq. 16, there with the true images). 0 when alone;
    NaN where an object has no light.
    """
    summed = images.sum(axis=1)
    own = np.einsum("kyx,kyx->k", summed, summed)
    with_all = np.einsum("kyx,yx->k", summed, summed.sum(axis=0))
    return 1 - np.divide(own, with_all, where=with_all != 0, out=np.full(len(own), np.nan))


def peak_offset(
    images: Float[np.ndarray, "object band y x"], centers: Numbers
) -> Float[np.ndarray, " object"]:
    """Return how far, in pixels, the brightest pixel of each object is from its center, all bands together.

    Up to 0.7 where it is the pixel of the center. Of an object with negative light in all, the darkest; NaN where it
    has none. A center off the frame counts as the nearest point on it.
    """
    summed = images.sum(axis=1)
    light = summed.sum(axis=(1, 2))
    brightest = np.argmax(summed.reshape(len(summed), -1) * np.sign(light)[:, None], axis=1)
    peaks = np.stack(np.unravel_index(brightest, summed.shape[1:]), axis=1)
    inside = np.clip(np.asarray(centers, np.float64), 0, np.asarray(summed.shape[1:]) - 1)
    return np.where(light != 0, np.linalg.norm(peaks - inside, axis=1), np.nan)


def signal_to_noise(
    images: Float[np.ndarray, "object band y x"], inverse_variance: Float[np.ndarray, "band y x"]
) -> Float[np.ndarray, "object band"]:
    r"""Return each flux over the error it would have alone, :math:`\pm (\sum_p w_p M_p^2)^{1/2}` of its image M."""
    return np.sign(images.sum(axis=(2, 3))) * np.sqrt(np.sum(inverse_variance * images**2, axis=(2, 3)))


def half_width(psfs: Float[np.ndarray, "band y x"]) -> float:
    """Return the half width at half maximum of the widest PSF, in pixels: of a circle as large as what is above."""
    above = psfs > psfs.max(axis=(1, 2), keepdims=True) / 2
    return float(np.sqrt(above.sum(axis=(1, 2)).max() / np.pi))


def object_images(posterior: Posterior, position: Position) -> ObjectImages:
    """Return the images of all objects at a position, with the fluxes most probable there."""
    images = np.asarray(posterior.source_images(position), np.float64)
    membership = np.asarray(posterior.scene.membership)
    objects = np.stack(
        [images[: len(membership)][membership == k].sum(axis=0) for k in range(membership.max() + 1)]
    )
    has_background = len(images) > len(membership)
    background = images[-1].mean(axis=(1, 2)) if has_background else np.zeros(images.shape[1])
    return ObjectImages(objects, background)


def mean_object_images(draws: Draws, num: int = 64) -> ObjectImages:
    """Return posterior mean images, averaged over ``num`` draws evenly spread over all chains.

    Raises
    ------
    ConfigError
        If there are no draws.
    """
    shape = chain_shape(draws)
    indices = spread_indices(shape[0] * shape[1], num)
    if not len(indices):
        raise ConfigError("there are no draws to average; sample again, or pass a position.")
    total = None
    for chain, draw in zip(*np.unravel_index(indices, shape), strict=True):
        position = jax.tree.map(lambda leaf, c=chain, d=draw: jnp.asarray(leaf[c, d]), draws.position)
        images = object_images(draws.density, position)
        total = images if total is None else jax.tree.map(np.add, total, images)
    return jax.tree.map(lambda part: part / len(indices), total)


def mean_centers(draws: Draws) -> Float[np.ndarray, "object 2"]:
    """Return the center (y, x) of each object: the posterior mean where it is free, else the scene's.

    That of its first component, where an object has several.
    """
    posterior = draws.density
    free = {parameter.name: parameter for parameter in posterior.parameters}
    centers = []
    for source in first_sources(posterior.scene).values():
        key = f"{source.name}.center"
        if key in free:
            values = np.asarray(
                jax.vmap(free[key].constrain)(jnp.asarray(draws.position[key]).reshape(-1, 2))
            )
            centers.append(values.mean(axis=0, dtype=np.float64))
        else:
            centers.append(np.asarray(posterior.fixed[key], np.float64))
    return np.stack(centers)

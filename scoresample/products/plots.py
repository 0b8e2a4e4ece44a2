"""The picture of a fit: data, model, residuals, objects and their fluxes."""

from pathlib import Path

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
from jaxtyping import Float, PyTree
from matplotlib.figure import Figure

from scoresample.data.values import Numbers
from scoresample.density.posterior import Posterior
from scoresample.diagnostics.convergence import unseen_fluxes
from scoresample.errors import ShapeError
from scoresample.numerics.files import replacing
from scoresample.products.colour import ColourScale
from scoresample.products.panels import (
    FLUX_HEIGHT,
    FluxRange,
    draw_objects,
    draw_overview,
    draw_residuals,
    shown_aspect,
)
from scoresample.products.photometry import ObjectImages, flux_samples, mean_object_images, object_images
from scoresample.samplers.base import Draws
from scoresample.samplers.optimize import MAPResult

WIDTH = 12.0  # inches


def plot_scene(
    posterior: Posterior,
    draws: Draws | MAPResult | PyTree,
    path: str | Path | None = None,
    *,
    true_flux: Numbers | None = None,
) -> Figure:
    """Draw data, model and residuals of a scene, and each object with its fluxes.

    Parameters
    ----------
    posterior
        Of the scene.
    draws
        Draws, for posterior means with 68 % error bars; or one position, such as the result of `find_map`.
    path
        Where to save the figure too; the suffix tells the format.
    true_flux
        (object, band), marked beside the fluxes of a simulation.

    Returns
    -------
    The figure. Residuals are in units of the noise, grey where there are no data.

    Raises
    ------
    ShapeError
        If ``true_flux`` does not fit the objects and bands.
    ConfigError
        If there are no draws.
    PositionError
        If a position does not fit the posterior.
    """
    images, fluxes = _what_to_draw(posterior, draws)
    truth = None if true_flux is None else np.asarray(true_flux, np.float64)
    if truth is not None and truth.shape != fluxes.flux.shape:
        raise ShapeError(f"true_flux has shape {truth.shape}, needed (object, band) = {fluxes.flux.shape}.")
    observation = posterior.observation
    colour = ColourScale(np.asarray(observation.inverse_variance, np.float64), images)
    aspect = shown_aspect(posterior)
    num_objects, num_bands = fluxes.flux.shape
    columns = _num_columns(num_objects)
    rows = -(-num_objects // columns)
    heights = [
        WIDTH / 3 * aspect + 0.4,
        WIDTH / max(num_bands, 4) * aspect + 0.3,
        rows * (WIDTH / columns * (aspect + FLUX_HEIGHT) + 0.35),
    ]
    figure = plt.figure(figsize=(WIDTH, sum(heights)), layout="constrained")
    top, middle, bottom = np.asarray(figure.subfigures(3, 1, height_ratios=heights))
    residual = _residuals(posterior, images)
    draw_overview(top, posterior, images, residual, colour)
    draw_residuals(middle, posterior, residual)
    draw_objects(bottom, posterior, images, fluxes, colour, truth, (rows, columns))
    plt.close(figure)  # no window, and once only in a notebook
    if path is not None:
        with replacing(path) as temporary:
            figure.savefig(temporary, dpi=120)
    return figure


def _what_to_draw(posterior: Posterior, draws: Draws | MAPResult | PyTree) -> tuple[ObjectImages, FluxRange]:
    if isinstance(draws, Draws):
        samples = flux_samples(draws)
        samples[:, unseen_fluxes(posterior)] = np.nan
        images = mean_object_images(draws)
        return images, FluxRange(samples.mean(axis=0), *np.quantile(samples, [0.16, 0.84], axis=0))
    position = jax.tree.map(jnp.asarray, draws.position if isinstance(draws, MAPResult) else draws)
    posterior.check_position(position)
    images = object_images(posterior, position)
    flux = np.where(unseen_fluxes(posterior), np.nan, images.objects.sum(axis=(2, 3)))
    return images, FluxRange(flux, flux, flux)


def _residuals(posterior: Posterior, images: ObjectImages) -> Float[np.ndarray, "band y x"]:
    """Return data minus model in units of the noise; NaN without data."""
    weight = np.asarray(posterior.observation.inverse_variance, np.float64)
    residual = (np.asarray(posterior.observation.images, np.float64) - images.model) * np.sqrt(weight)
    return np.where(weight > 0, residual, np.nan)


def _num_columns(num_objects: int) -> int:
    """Return how many objects go in a row: at most eight, in more and smaller panels beyond twenty-four."""
    if num_objects <= 8:
        return max(num_objects, 4)
    return -(-num_objects // 2) if num_objects <= 16 else 8 if num_objects <= 24 else 12

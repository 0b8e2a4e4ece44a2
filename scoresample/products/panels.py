"""The panels of the picture of a fit."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import SubFigure
from matplotlib.patches import Rectangle
from matplotlib.patheffects import withStroke

from scoresample.density.posterior import Posterior
from scoresample.products.colour import ColourScale
from scoresample.products.objects import first_sources
from scoresample.products.photometry import ObjectImages

RESIDUAL_RANGE = 5.0  # sigma at the ends of the colour bar
FLUX_HEIGHT = 0.75  # of the panel of fluxes, in units of the width of the image above it


class FluxRange(NamedTuple):
    """Fluxes to plot with the ends of their error bars, each (object, band); NaN where there are no data."""

    flux: Float[np.ndarray, "object band"]
    low: Float[np.ndarray, "object band"]
    high: Float[np.ndarray, "object band"]


def shown_aspect(posterior: Posterior) -> float:
    """Return height over width of the panels of images; very long frames get less."""
    height, width = posterior.observation.frame.shape
    return float(np.clip(height / width, 0.3, 1.6))


def draw_overview(
    figure: SubFigure, posterior: Posterior, images: ObjectImages, residual: np.ndarray, colour: ColourScale
) -> None:
    """Draw data and model in colour, and the residual summed over bands."""
    observation = posterior.observation
    data, model, rest = figure.subplots(1, 3)
    data.imshow(colour.with_sky(np.asarray(observation.images, np.float64)), origin="lower")
    model.imshow(colour.with_sky(images.model), origin="lower")
    seen = np.isfinite(residual).sum(axis=0)
    together = np.divide(
        np.nansum(residual, axis=0), np.sqrt(seen), where=seen > 0, out=np.full(seen.shape, np.nan)
    )
    shown = show_residual(rest, together)
    figure.colorbar(shown, ax=rest, shrink=0.85, label="residual / sigma")
    titles = (f"data: {observation.name}", "model", "residual, all bands")
    for axes, title in zip((data, model, rest), titles, strict=True):
        axes.set_title(title, fontsize=10)
        without_ticks(axes)
    for name, source in first_sources(posterior.scene).items():
        y, x = np.asarray(source.center)
        outlined = [withStroke(linewidth=1.5, foreground="black")]
        label = name.rpartition("_")[2]
        shift = {"xytext": (4, 4), "textcoords": "offset points"}
        data.annotate(label, (x, y), color="white", fontsize=8, path_effects=outlined, **shift)
        data.plot(x, y, "+", color="white", markersize=5, markeredgewidth=0.8, path_effects=outlined)


def draw_residuals(figure: SubFigure, posterior: Posterior, residual: np.ndarray) -> None:
    """Draw the residual of each band, with its mean square."""
    bands = posterior.observation.frame.bands
    panels = figure.subplots(1, max(len(bands), 4), squeeze=False)[0]
    for axes in panels[len(bands) :]:
        axes.set_visible(False)
    for axes, band, image in zip(panels, bands, residual, strict=False):
        show_residual(axes, image)
        mean_square = f"{np.nanmean(image**2):.2f}" if np.isfinite(image).any() else "no data"
        axes.set_title(f"{band}: mean square {mean_square}", fontsize=9)
        without_ticks(axes)


def draw_objects(
    figure: SubFigure,
    posterior: Posterior,
    images: ObjectImages,
    fluxes: FluxRange,
    colour: ColourScale,
    truth: Float[np.ndarray, "object band"] | None,
    grid: tuple[int, int],
) -> None:
    """Draw each object alone, with its box, above its fluxes."""
    rows, columns = grid
    ratios = [shown_aspect(posterior), FLUX_HEIGHT] * rows
    panels = figure.subplots(2 * rows, columns, squeeze=False, height_ratios=ratios)
    for axes in panels.flat:
        axes.set_visible(False)
    bands, unit = posterior.observation.frame.bands, posterior.observation.frame.flux_unit
    for k, (name, source) in enumerate(first_sources(posterior.scene).items()):
        above, below = panels[2 * (k // columns), k % columns], panels[2 * (k // columns) + 1, k % columns]
        above.set_visible(True)
        below.set_visible(True)
        above.imshow(colour(images.objects[k]), origin="lower")
        height, width = source.shape
        corner = np.asarray(source.origin)[::-1] - 0.5
        above.add_patch(Rectangle(corner, width, height, fill=False, color="white", alpha=0.5, linewidth=0.7))
        above.set_xlim(-0.5, images.objects.shape[3] - 0.5)
        above.set_ylim(-0.5, images.objects.shape[2] - 0.5)
        above.set_title(name, fontsize=9 if columns <= 6 else 7)
        without_ticks(above)
        _draw_fluxes(
            below, bands, FluxRange(*(part[k] for part in fluxes)), None if truth is None else truth[k]
        )
        if k % columns == 0:
            below.set_ylabel(f"flux [{unit}]" if unit else "flux", fontsize=8)
        if k == 0 and truth is not None:
            below.legend(fontsize=7, frameon=False, loc="best")


def _draw_fluxes(axes: Axes, bands: tuple[str, ...], flux: FluxRange, truth: np.ndarray | None) -> None:
    at = np.arange(len(bands))
    bars = np.stack([flux.flux - flux.low, flux.high - flux.flux]).clip(min=0)
    axes.plot(at, flux.flux, color="C0", linewidth=0.6, alpha=0.5)
    axes.errorbar(
        at, flux.flux, bars, fmt="o", color="C0", markersize=3, capsize=2, linewidth=1.2, label="fit"
    )
    if truth is not None:
        axes.plot(at, truth, "x", color="C3", markersize=5, label="truth", zorder=3)
    axes.set_xticks(at, bands)
    axes.set_xlim(-0.5, len(bands) - 0.5)
    axes.tick_params(labelsize=7, length=2)
    axes.ticklabel_format(axis="y", style="sci", scilimits=(-3, 4))
    axes.yaxis.get_offset_text().set_fontsize(7)
    low, high = axes.get_ylim()
    if low < 0 < high:
        axes.axhline(0, color="0.6", linewidth=0.6, zorder=0)


def show_residual(axes: Axes, residual: Float[np.ndarray, "y x"]):
    """Draw a residual in units of the noise, grey where it is NaN; return the image, for a colour bar."""
    axes.set_facecolor("0.8")  # shows through
    return axes.imshow(residual, origin="lower", cmap="RdBu_r", vmin=-RESIDUAL_RANGE, vmax=RESIDUAL_RANGE)


def without_ticks(axes: Axes) -> None:
    """Take the ticks off."""
    axes.set_xticks([])
    axes.set_yticks([])

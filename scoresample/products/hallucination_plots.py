"""The picture of a hallucination score: what prior and data know of each pixel of each source."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
from jaxtyping import Float, PyTree
from matplotlib.axes import Axes
from matplotlib.colors import SymLogNorm
from matplotlib.figure import FigureBase

from scoresample.density.posterior import Posterior
from scoresample.diagnostics.hallucination import Hallucination
from scoresample.errors import ConfigError
from scoresample.models.source import Source
from scoresample.numerics.files import replacing
from scoresample.products.colour import ColourScale
from scoresample.products.panels import without_ticks
from scoresample.products.photometry import mean_object_images, object_images
from scoresample.samplers.base import Draws
from scoresample.samplers.optimize import MAPResult

WIDTH = 14.0  # inches
NUM_PANELS = 6
HEIGHT = WIDTH / NUM_PANELS * 0.95  # of a row
MAX_ROWS = 12
LEAST_SHARE = 1e-4
"""Of data, as it is drawn."""


def plot_hallucination(
    posterior: Posterior,
    draws: Draws | MAPResult | PyTree,
    hall: Hallucination,
    path: str | Path | None = None,
    *,
    names: Sequence[str] | None = None,
    figure: FigureBase | None = None,
) -> FigureBase:
    r"""Draw what prior and data know of each pixel, a row for each source with a free image, within its box.

    From left: the data; the model of the whole scene; the diagonals :math:`F_{like}` and :math:`F_{prior}`, in one
    logarithmic scale of grey; their difference, red where the prior decides and blue where the data do, with a scale
    that is linear up to the median of :math:`F_{prior}`; and `Hallucination.data_share`, the part of what is known
    that is the data's. Pixels without data in any band are hatched, those off the frame black. As figure 12 of the
    source paper, but for the last.

    Parameters
    ----------
    posterior, draws
        Of the scene: draws, for the posterior mean model; or one position, such as the result of `find_map`.
    hall
        From `hallucination_score`.
    path
        Where to save the figure too; the suffix tells the format.
    names
        Of the sources to show. By default all; of more than 12 those with the most light.
    figure
        To draw into, such as a part of a figure of several scenes; a new one by default.

    Raises
    ------
    ConfigError
        If ``hall`` has no images, or is of other sources than the scene or ``names``.
    PositionError
        If a position does not fit the posterior.

    References
    ----------
    Sampson et al. (2024), Astronomy and Computing 49, 100875, fig. 12.
    """
    sources = {source.name: source for source in posterior.scene.sources}
    if not hall.difference or (strange := set(hall.difference) - set(sources)):
        what = f"is of {min(strange)!r}, which the scene lacks" if hall.difference else "has no free images"
        raise ConfigError(f"the hallucination score {what}; compute it from the posterior that is drawn.")
    if names is not None and (not names or (strange := set(names) - set(hall.difference))):
        which = f"{min(strange)!r} is not among them" if names else "names has none of them"
        raise ConfigError(f"the score is of {', '.join(hall.difference)}; {which}.")
    if isinstance(draws, Draws):
        images = mean_object_images(draws)
    else:
        position = jax.tree.map(jnp.asarray, draws.position if isinstance(draws, MAPResult) else draws)
        posterior.check_position(position)
        images = object_images(posterior, position)
    observation = posterior.observation
    weight = np.asarray(observation.inverse_variance, np.float64)
    colour = ColourScale(weight, images)
    data = colour.with_sky(np.asarray(observation.images, np.float64))
    model = colour.with_sky(images.model)
    light = dict(zip(posterior.scene.objects, images.objects.sum(axis=(1, 2, 3)), strict=True))
    if names is None:
        names = sorted(hall.difference, key=lambda name: -light[sources[name].object_name])[:MAX_ROWS]
        names = [name for name in hall.difference if name in names]
    if figure is None:
        figure = plt.figure(figsize=(WIDTH, len(names) * HEIGHT + 0.4), layout="constrained")
        plt.close(figure)
    axes, shares = figure.subplots(len(names), NUM_PANELS, squeeze=False), hall.data_share
    for row, name in zip(axes, names, strict=True):
        source = sources[name]
        row[0].imshow(_cut(data, source), origin="lower")
        row[1].imshow(_cut(model, source), origin="lower")
        _draw_score(figure, row[2:5], hall, name)
        _draw_share(figure, row[5], shares[name])
        dark = _cut((weight == 0).all(axis=0), source)
        for panel in row:
            _hatch(panel, dark)
            without_ticks(panel)
        gamma = hall.confidence[source.object_name]
        row[0].set_ylabel(f"{name}\nconfidence {gamma:.3g}", fontsize=8)
    titles = (
        "data",
        "model",
        "diagonal, likelihood",
        "diagonal, prior",
        "prior - likelihood",
        "share of data",
    )
    for panel, title in zip(axes[0], titles, strict=True):
        panel.set_title(title, fontsize=9)
    if path is not None:
        with replacing(path) as temporary:
            figure.figure.savefig(temporary, dpi=110)
    return figure


def _draw_score(figure: FigureBase, axes: np.ndarray, hall: Hallucination, name: str) -> None:
    like, prior, score = hall.likelihood[name], hall.prior[name], hall.difference[name]
    usual = max(float(np.median(np.abs(prior))), 1e-30)
    high = max(float(like.max()), float(prior.max()), 2 * usual)
    least = min(usual, float(np.median(like[like > 0])) if (like > 0).any() else usual)
    scale: dict[str, Any] = {
        "norm": "log",
        "vmin": np.clip(least / 10, 1e-6 * high, high / 100),
        "vmax": high,
    }
    for panel, diagonal in zip(axes, (like, prior), strict=False):
        # What is 0 or negative, where a prior bends the other way, is drawn as the least.
        shown = panel.imshow(np.maximum(diagonal, scale["vmin"]), origin="lower", cmap="gray", **scale)
    figure.colorbar(shown, ax=list(axes[:2]), shrink=0.8)
    reach = max(float(np.abs(score).max()), 2 * usual)
    shown = axes[2].imshow(
        score, origin="lower", cmap="RdBu_r",
        norm=SymLogNorm(usual, vmin=-reach, vmax=reach, linscale=1.0),
    )  # fmt: skip
    figure.colorbar(shown, ax=axes[2], shrink=0.8)


def _draw_share(figure: FigureBase, axes: Axes, share: Float[np.ndarray, "y x"] | np.ndarray) -> None:
    share = np.clip(share, LEAST_SHARE, 1)
    shown = axes.imshow(share, origin="lower", cmap="viridis", norm="log", vmin=LEAST_SHARE, vmax=1)
    figure.colorbar(shown, ax=axes, shrink=0.8)


def _cut(image: np.ndarray, source: Source) -> np.ndarray:
    """Return an image inside the box of a source; zero off the frame."""
    out = np.zeros((*source.shape, *image.shape[2:]), image.dtype)
    y, x = (
        np.arange(o, o + n)[(np.arange(o, o + n) >= 0) & (np.arange(o, o + n) < size)]
        for o, n, size in zip(np.asarray(source.origin), source.shape, image.shape, strict=False)
    )
    corner = np.asarray(source.origin)
    out[np.ix_(y - corner[0], x - corner[1])] = image[np.ix_(y, x)]
    return out


def _hatch(axes: Axes, dark: Float[np.ndarray, "y x"] | np.ndarray) -> None:
    """Hatch pixels."""
    if dark.any():
        axes.contourf(dark.astype(float), levels=[0.5, 1.5], colors="none", hatches=["///"])

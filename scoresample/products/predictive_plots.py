"""The picture of a predictive check: residuals, replicated ones, where they are large, and how they hang together."""

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import scipy.ndimage
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from scoresample.diagnostics.predictive import PredictiveCheck
from scoresample.numerics.files import replacing
from scoresample.products.panels import show_residual, without_ticks

_SMOOTHED = 5  # pixels a side
_WIDTH = 11.0  # inches


def plot_predictive(check: PredictiveCheck, path: str | Path) -> Figure:
    """Draw a predictive check and save it, a row for each band.

    From left: residuals of the posterior mean model in units of the noise; those of one replicated data set, which look
    alike where the model is right; chi-square per pixel, averaged over 5 x 5 pixels, with a colour scale of 4 standard
    deviations; correlation of residuals by distance.
    """
    num_bands, height, width = check.residual.shape
    aspect = float(np.clip(height / width, 0.3, 1.6))
    figure, axes = plt.subplots(
        num_bands, 4, figsize=(_WIDTH, num_bands * (_WIDTH / 4 * aspect * 0.8 + 0.3) + 0.6), squeeze=False,
        layout="constrained",
    )  # fmt: skip
    replicated = (check.replicated[0] - check.model[0]) * np.sqrt(check.inverse_variance)
    seen = check.inverse_variance > 0
    reach = check.autocorrelation.shape[1] // 2
    for row, band in zip(axes, check.bands, strict=True):
        b, numbers = check.bands.index(band), check.table.loc[band]
        shown = show_residual(row[0], check.residual[b])
        figure.colorbar(shown, ax=row[0], shrink=0.8)
        show_residual(row[1], np.where(seen[b], replicated[b], np.nan))
        _chi_square(figure, row[2], check.chi2[b])
        limit = max(0.1, 4 / np.sqrt(numbers["pixels"]))
        extent = (-reach - 0.5, reach + 0.5, -reach - 0.5, reach + 0.5)
        shown = row[3].imshow(check.autocorrelation[b], origin="lower", cmap="PuOr_r", vmin=-limit, vmax=limit,
                              extent=extent)  # fmt: skip
        figure.colorbar(shown, ax=row[3], shrink=0.8)
        row[0].set_ylabel(band, rotation=0, labelpad=12, fontsize=12)
        row[0].set_title(
            f"residual / sigma, to {numbers['largest']:.1f} (p {numbers['largest_p']:.2g})", fontsize=8
        )
        row[1].set_title("the same, replicated", fontsize=8)
        row[2].set_title(f"chi-square {numbers['chi2']:.3f} (p {numbers['chi2_p']:.2g})", fontsize=8)
        row[3].set_title(
            f"neighbours {numbers['correlation']:+.3f} (p {numbers['correlation_p']:.2g})", fontsize=8
        )
        for panel in row[:3]:
            without_ticks(panel)
        row[3].tick_params(labelsize=7)
    figure.suptitle(check.verdict.splitlines()[0], fontsize=10)
    plt.close(figure)
    with replacing(path) as temporary:
        figure.savefig(temporary, dpi=100)
    return figure


def _chi_square(figure: Figure, axes: Axes, chi2: Float[np.ndarray, "y x"]) -> None:
    """Draw the mean chi-square of the pixels around every pixel; one of n pixels has variance 2/n."""
    seen = np.isfinite(chi2)
    mean = lambda image: scipy.ndimage.uniform_filter(image, _SMOOTHED, mode="constant")
    share = mean(seen.astype(float))
    smooth = np.divide(mean(np.where(seen, chi2, 0)), share, where=seen, out=np.full(chi2.shape, np.nan))
    reach = 4 * np.sqrt(2) / _SMOOTHED
    axes.set_facecolor("0.8")
    shown = axes.imshow(smooth, origin="lower", cmap="RdBu_r", vmin=1 - reach, vmax=1 + reach)
    figure.colorbar(shown, ax=axes, shrink=0.8)

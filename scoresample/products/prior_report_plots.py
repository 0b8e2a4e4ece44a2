"""The pictures of a prior's report card."""

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from scoresample.numerics.files import replacing
from scoresample.products.prior_report import LIMITS, PriorReport
from scoresample.training.image_statistics import image_statistics

_COLUMNS = 12
_BINS = 40
_LABELS = ("total flux", "half-light radius [pixel]", "ellipticity", "concentration", "asymmetry")


def plot_prior_report(report: PriorReport, folder: str | Path) -> list[Path]:
    """Write ``images.png``, ``statistics.png`` and ``noise_levels.png`` to a folder; return their paths."""
    pictures = {"noise_levels.png": _plot_noise_levels(report)}
    if len(report.draws):
        pictures |= {"images.png": _plot_images(report), "statistics.png": _plot_statistics(report)}
    written = []
    for name, figure in pictures.items():
        path = Path(folder) / name
        with replacing(path) as temporary:
            figure.savefig(temporary, dpi=110)
        plt.close(figure)
        written.append(path)
    return written


def _plot_images(report: PriorReport) -> Figure:
    """Draw galaxies, draws, and galaxies after a walk, denoised, in rows."""
    rows = [("galaxies", report.data), ("draws", report.draws), ("after a walk", report.walked)]
    rows = [(title, images[part : part + _COLUMNS]) for title, images in rows for part in (0, _COLUMNS)]
    figure, axes = plt.subplots(len(rows), _COLUMNS, figsize=(12, 1.02 * len(rows)), layout="constrained")
    for (title, images), row in zip(rows, axes, strict=True):
        row[0].set_ylabel(title, fontsize=8)
        for image, panel in zip(images, row, strict=False):
            panel.imshow(np.arcsinh(image / 0.03), origin="lower", vmin=-1, vmax=np.arcsinh(1 / 0.03))
        for panel in row:
            panel.set(xticks=[], yticks=[])
    return figure


def _plot_statistics(report: PriorReport) -> Figure:
    """Draw the distribution of every statistic: of draws, and of galaxies after a walk, each beside galaxies."""
    figure, axes = plt.subplots(2, len(_LABELS), figsize=(15, 6), layout="constrained")
    pairs = [
        ("galaxies", report.data, "draws", report.draws),
        ("galaxies, denoised", report.denoised, "after a walk, denoised", report.walked),
    ]
    for row, (title, data, other_title, other) in zip(axes, pairs, strict=True):
        both = image_statistics(data), image_statistics(other)
        for label, panel, galaxies, compared in zip(_LABELS, row, *both, strict=True):
            bins = np.linspace(*np.quantile(galaxies[np.isfinite(galaxies)], (0.001, 0.999)), _BINS)
            inside = lambda values, bins=bins: np.clip(values[np.isfinite(values)], bins[0], bins[-1])
            panel.hist(inside(galaxies), bins, density=True, color="0.75", label=title)
            panel.hist(inside(compared), bins, density=True, color="C0", histtype="step", label=other_title)
            panel.set(xlabel=label, yticks=[])
        row[0].legend(fontsize=8)
    return figure


def _plot_noise_levels(report: PriorReport) -> Figure:
    """Draw the noise that denoising leaves, and what becomes of a ring, against the noise level."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 3.8), layout="constrained")
    for number, (side, values) in enumerate(report.figures["noise_left"].items()):
        left.plot(*_curve(values), "o-", markersize=3, color=f"C{number}", label=f"{side} pixels")
        limit = LIMITS.get(f"noise left, {side} pixels, noise 0.14")
        if limit is not None:
            left.plot(0.14, limit, "_", color=f"C{number}", markersize=14)
    _name(left, "noise left, mean squared error / noise²", log=True)
    ring = report.figures["ring"]
    for what, title in (("removed", "share of the ring removed"), ("pushed_down", "share of its pixels pushed down"),
                        ("pushed_down_without", "the same without the ring"),
                        ("score_of_galaxy", "galaxy without ring: rms of score × noise level")):  # fmt: skip
        right.plot(
            *_curve({level: values[what] for level, values in ring.items()}), "o-", markersize=3, label=title
        )
    _name(right, "a ring of a tenth of the peak", log=False)
    return figure


def _curve(values: dict[str, float]) -> tuple[list[float], list[float]]:
    return [float(level) for level in values], list(values.values())


def _name(axes: Axes, what: str, *, log: bool) -> None:
    axes.set(xscale="log", yscale="log" if log else "linear", xlabel="noise level in u", ylabel=what)
    axes.legend(fontsize=8)

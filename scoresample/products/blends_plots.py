"""Pictures of a gallery: errors of every method against magnitude and blendedness, and how honest intervals are."""

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from scoresample.diagnostics.blend_report import BINS, TARGET_BAND, BlendReport
from scoresample.numerics.files import replacing

_FLOOR = 1e-5  # of 1 - correlation, which is shown on a logarithmic axis


def plot_errors(report: BlendReport, path: str | Path) -> Figure:
    """Draw the relative flux error, and one minus the correlations of morphology and spectrum, and save the picture.

    Dots are objects, in the color of their method; lines are medians in bins. Left against the magnitude in i, right
    against the blendedness (paper, Fig. 6 and 8 to 11).
    """
    figure, axes = plt.subplots(3, 2, figsize=(11, 11), layout="constrained", sharex="col", sharey="row")
    labels = [] if report.table.empty else list(report.table["estimate"].unique())
    for row, (column, title) in enumerate((
        ("flux_error", "|flux error|"), ("morphology", "1 - morphology corr."), ("spectrum", "1 - SED corr.")
    )):  # fmt: skip
        for panel, (name, (x, edges)) in zip(axes[row], BINS.items(), strict=True):
            for number, label in enumerate(labels):
                part = report.table[report.table["estimate"] == label]
                _curve(panel, part, x, edges, column, f"C{number}", label)
            panel.set(yscale="log", ylabel=title)
            if row == 2:
                panel.set_xlabel("magnitude in i" if name == "i" else name)
    if labels:
        axes[0, 0].legend(fontsize=8)
    return _save(figure, path)


def plot_intervals(report: BlendReport, path: str | Path) -> Figure:
    """Draw coverage of 68 and 95 % intervals and the width of pulls of the fluxes in i, in bins, and save it."""
    figure, axes = plt.subplots(1, 3, figsize=(13, 5), layout="constrained", sharey=True)
    part = report.intervals
    if len(part):
        part = part[part["bands"] == TARGET_BAND]
        groups = list(part["group"].unique())
        for panel, column, expected in zip(
            axes, ("coverage_68", "coverage_95", "pull_width"), (0.68, 0.95, 1.0), strict=True
        ):
            for number, (label, mine) in enumerate(part.groupby("estimate", sort=False)):
                at = -np.array([groups.index(group) for group in mine["group"]]) - 0.12 * number
                panel.errorbar(
                    mine[column], at, xerr=mine[f"{column}_error"], fmt="o", markersize=4, capsize=2, label=label
                )  # fmt: skip
            panel.axvline(expected, color="0.3", linewidth=1)
            panel.set(title=column.replace("_", " ") + (" %" if expected < 1 else ""))
        axes[0].set_yticks(-np.arange(len(groups)), groups, fontsize=8)
        axes[0].legend(fontsize=8)
    return _save(figure, path)


def _curve(panel: Axes, part: pd.DataFrame, x: str, edges, column: str, color: str, label: str) -> None:
    values = part[column].abs() if column == "flux_error" else 1 - part[column]
    values = np.maximum(values, _FLOOR)
    panel.plot(part[x], values, ".", color=color, alpha=0.25, markersize=4)
    bins = pd.cut(part[x], list(edges), right=False)
    middle = part[x].groupby(bins, observed=True).median()
    panel.plot(
        middle, values.groupby(bins, observed=True).median(), "o-", color=color, markersize=4, label=label
    )


def _save(figure: Figure, path: str | Path) -> Figure:
    plt.close(figure)
    with replacing(path) as temporary:
        figure.savefig(temporary, dpi=110)
    return figure

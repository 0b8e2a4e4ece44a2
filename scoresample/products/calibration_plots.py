"""The picture of a calibration: cumulated ranks, TARP, coverage and pulls in bins."""

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import scipy.stats
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from scoresample.diagnostics.calibration import Calibration
from scoresample.diagnostics.calibration_groups import rank_band
from scoresample.numerics.files import replacing


def plot_calibration(found: Calibration, path: str | Path) -> Figure:
    """Draw a calibration and save it.

    Top: cumulated PIT values of every flux less the uniform line, with the band that holds 99 % of whole curves where
    the posterior is right; the TARP curve; the distribution of the pulls. Bottom: coverage of 68 and of 95 % intervals,
    and width of the pulls, of all fluxes and in bins of S/N and blendedness, with standard errors.
    """
    figure, axes = plt.subplots(2, 3, figsize=(13, 8), layout="constrained")
    if len(found.table):
        _ranks(axes[0, 0], found.table)
        _tarp(axes[0, 1], found)
        _pulls(axes[0, 2], found.table)
    if len(found.groups):  # of two scenes or more
        for panel, column, expected in zip(
            axes[1], ("coverage_68", "coverage_95", "pull_width"), (0.68, 0.95, 1.0), strict=True
        ):
            _bins(panel, found.groups, column, expected)
    figure.suptitle(found.verdict.splitlines()[0], fontsize=10)
    plt.close(figure)
    with replacing(path) as temporary:
        figure.savefig(temporary, dpi=110)
    return figure


def _ranks(axes: Axes, table: pd.DataFrame) -> None:
    curves = [part["pit"].to_numpy(float) for _, part in table.groupby(["object", "band"])]
    for pits in curves:
        at = np.sort(pits)
        axes.step(
            at, (np.arange(len(at)) + 1) / len(at) - at, where="post", color="C0", alpha=0.4, linewidth=0.8
        )
    if len(curves[0]) > 2:
        points, low, high = rank_band(len(curves[0]))
        axes.fill_between(points, low - points, high - points, color="0.85", step="mid", zorder=0)
    axes.set(xlabel="PIT", ylabel="cumulated less uniform", xlim=(0, 1), title="ranks of each flux")


def _tarp(axes: Axes, found: Calibration) -> None:
    level, held = found.tarp.level, found.tarp.coverage
    sd = np.sqrt(level * (1 - level) / max(int(found.scenes["used"].sum()), 1))
    axes.fill_between(level, level - 2 * sd, level + 2 * sd, color="0.85")
    axes.plot(level, held, color="C0")
    title = f"TARP, all fluxes together: p = {found.tarp.p_value:.2g}"
    axes.set(xlabel="credibility", ylabel="holds the truth", xlim=(0, 1), ylim=(0, 1), title=title)


def _pulls(axes: Axes, table: pd.DataFrame) -> None:
    at = np.linspace(-4, 4, 33)
    axes.hist(np.clip(table["pull"], -4, 4), at, density=True, color="C0", alpha=0.5)
    axes.plot(at, scipy.stats.norm.pdf(at), color="0.3", linewidth=1)
    axes.set(xlabel="(mean - truth) / sd", yticks=[], title="pulls, and a standard normal")


def _bins(axes: Axes, groups: pd.DataFrame, column: str, expected: float) -> None:
    at = np.arange(len(groups))[::-1]
    axes.errorbar(
        groups[column], at, xerr=groups[f"{column}_error"], fmt="o", color="C0", markersize=4, capsize=2
    )
    axes.axvline(expected, color="0.3", linewidth=1)
    labels = [f"{name} ({count})" for name, count in zip(groups["group"], groups["fluxes"], strict=True)]
    axes.set_yticks(at, labels, fontsize=7)
    axes.set(title=column.replace("_", " ") + (" %" if expected < 1 else ""))

"""Calibration in numbers: of all fluxes, in bins of S/N and blendedness, and of each flux."""

import itertools
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from arviz_stats.ecdf_utils import ecdf_pit
from jaxtyping import Float

from scoresample.diagnostics.coverage import Measured, coverage, pull_mean, pull_width, uniformity

SNR_EDGES = (-np.inf, 5, 20, 100, np.inf)
BLENDEDNESS_EDGES = (-np.inf, 0.05, 0.2, 0.5, np.inf)
_LEAST_IN_BIN = 10


def in_bins(
    table: pd.DataFrame, columns: Mapping[str, tuple[str, Sequence[int | float]]]
) -> list[tuple[str, pd.Series]]:
    """Return which rows are in each bin, by its name: first "all", then the bins of each column between its edges."""
    bins = [("all", pd.Series(True, table.index))]
    for name, (column, edges) in columns.items():
        for low, high in itertools.pairwise(edges):
            text = (
                f"below {high:g}"
                if low == -np.inf
                else f"{low:g} and more"
                if high == np.inf
                else f"{low:g} to {high:g}"
            )
            bins.append((f"{name} {text}", (table[column] >= low) & (table[column] < high)))
    return bins


def by_value(table: pd.DataFrame, column: str) -> list[tuple[str, pd.Series]]:
    """Return which rows have each value of a column, by its name."""
    return [(f"{column} {value}", table[column] == value) for value in sorted(table[column].unique())]


def groups_of_fluxes(
    table: pd.DataFrame,
    tests: dict[str, float],
    kind: str | None = None,
    more_bins: Mapping[str, tuple[str, Sequence[int | float]]] | None = None,
) -> pd.DataFrame:
    """Return a row for all fluxes, one for every bin, and one for every value of a column where that is asked for.

    Bins are of S/N and blendedness, and ``more_bins`` as `in_bins` takes them. Tests of those with 10 scenes or more go
    into ``tests``.
    """
    rows = []
    usual = {"S/N": ("snr", SNR_EDGES), "blendedness": ("blendedness", BLENDEDNESS_EDGES)}
    bins = in_bins(table, usual | dict(more_bins or {}))
    bins += [] if kind is None else by_value(table, kind)
    for name, inside in bins:
        part = table[inside]
        if part["scene"].nunique() < 2:
            continue
        row, found = _measure(part)
        if part["scene"].nunique() >= _LEAST_IN_BIN:
            tests |= {f"{what}, {name}": measured.p_value for what, measured in found.items()}
        rows.append({"group": name, "fluxes": len(part), "scenes": part["scene"].nunique()} | row)
    return pd.DataFrame(rows)


def single_fluxes(table: pd.DataFrame, tests: dict[str, float]) -> pd.DataFrame:
    """Return a row for the flux of every object and band; the tests of their ranks go into ``tests``."""
    rows = []
    for _, part in table.groupby(["object", "band"], sort=False):
        name, band = part["object"].iloc[0], part["band"].iloc[0]
        if len(part) < 2:
            continue
        p_value = uniformity(part["pit"].to_numpy(float))
        tests[f"ranks of flux[{name}, {band}]"] = p_value
        about = {"object": name, "band": band, "scenes": len(part), "rank_p": p_value}
        rows.append(about | _measure(part)[0])
    return pd.DataFrame(rows)


def rank_band(
    num_scenes: int, level: float = 0.99
) -> tuple[Float[np.ndarray, " point"], Float[np.ndarray, " point"], Float[np.ndarray, " point"]]:
    """Return points in (0, 1), and between which shares of uniform values below them whole curves stay at a level.

    References
    ----------
    Säilynoja, Bürkner & Vehtari (2022), Statistics and Computing 32, 32; by arviz_stats.
    """
    points, _, low, high = ecdf_pit((np.arange(num_scenes) + 0.5) / num_scenes, level, 1000)
    return points, low, high


def _measure(part: pd.DataFrame) -> tuple[dict[str, float], dict[str, Measured]]:
    """Return the numbers of some fluxes, and those that are tested."""
    pits, pulls = (_by_scene(part, column) for column in ("pit", "pull"))
    found = {
        "coverage_68": coverage(pits, 0.68),
        "coverage_95": coverage(pits, 0.95),
        "pull_mean": pull_mean(pulls),
        "pull_width": pull_width(pulls),
    }
    row = {}
    for name, measured in found.items():
        row |= {name: measured.value, f"{name}_error": measured.error}
    row["crps_ratio"] = float(part["crps"].sum() / part["crps_expected"].sum())
    return row, found


def _by_scene(part: pd.DataFrame, column: str) -> np.ndarray:
    """Return a column as (scene, flux), NaN where a scene has fewer fluxes than another."""
    order = part.groupby("scene", sort=False).cumcount()
    return part.assign(order=order).pivot(index="scene", columns="order", values=column).to_numpy(float)

"""What our posterior is to reach on a gallery, and whether it does, with the statistical error."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from scoresample.diagnostics.bootstrap import bootstrap_error
from scoresample.diagnostics.calibration_groups import in_bins

MOST_OVER_ORACLE, LEAST_MORPHOLOGY, MOST_LOSS, LEAST_WELL_DRAWN = 1.6, 0.995, 1.25, 0.9
LEAST_ESS = 100
MONTE_CARLO = np.sqrt(2 / 400)
"""Root mean square by which the means of two runs differ, in posterior sd, whose fluxes have 400 effective draws."""

LEAST_SCENES = 3


class Target(NamedTuple):
    """A number that has limits.

    ``status`` is ``met`` where it is inside by its standard error or more, ``missed`` where it is outside by two or
    more, else ``open``: more scenes would tell.
    """

    name: str
    value: float
    error: float
    low: float | None
    high: float | None
    status: str

    def __str__(self) -> str:
        limits = f"{self.low:g} to {self.high:g}" if None not in (self.low, self.high) else (
            f"at most {self.high:.3g}" if self.low is None else f"at least {self.low:g}"
        )  # fmt: skip
        return f"{self.status:6} {self.name}: {self.value:.3f} +- {self.error:.3f}, {limits}"


def make_target(
    name: str, value: float, error: float, low: float | None = None, high: float | None = None
) -> Target:
    """Return a target with its status; ``open`` where there is no number or no error."""
    room = min(np.inf if low is None else value - low, np.inf if high is None else high - value)
    status = "met" if room >= error else "missed" if room <= -2 * error else "open"
    if not np.isfinite([value, error]).all():
        status = "open"
    return Target(name, float(value), float(error), low, high, status)


def find_targets(
    table: pd.DataFrame,
    runs: pd.DataFrame,
    intervals: pd.DataFrame,
    means: Mapping[str, pd.DataFrame],
    bins: Mapping[str, tuple[str, Sequence[int | float]]],
) -> tuple[Target, ...]:
    """Return the targets that the estimates at hand can answer; see `BlendReport` for the arguments."""
    found = [*_of_runs(runs), *_of_intervals(intervals)]
    mine = table[table["estimate"] == "posterior"]
    if mine.empty:
        return tuple(found)
    for other, high in (("oracle", MOST_OVER_ORACLE), ("map", 1.0)):
        found += _ratio(table, "posterior", other, high)
    for name, inside in in_bins(table, bins)[1:]:
        for other in ("constrained", "parametric"):
            found += _ratio(table[inside], "posterior", other, 1.0, f", {name}")
    error = bootstrap_error(np.median, mine["scene"], mine["morphology"])
    found.append(
        make_target("median morphology correlation", mine["morphology"].median(), error, LEAST_MORPHOLOGY)
    )
    found += _ratio(table, "posterior:offset", "posterior", MOST_LOSS)
    if "posterior:bright" in means and "posterior" in means:
        found.append(_change(means["posterior:bright"], means["posterior"]))
    return tuple(found)


def _of_runs(runs: pd.DataFrame) -> list[Target]:
    """Return the target of how many posteriors were drawn well enough to be judged; its error is that of Wilson.

    None is left out elsewhere: who runs a scene has these draws, and the verdict that says so.
    """
    if "ess" not in runs or not (mine := runs[runs["method"] == "posterior"])["scene"].size:
        return []
    count, enough = len(mine), int((mine["ess"].astype(float) >= LEAST_ESS).sum())
    error = np.sqrt(enough * (count - enough) / count + 0.25) / (count + 1)
    name = f"share of scenes with {LEAST_ESS} effective draws of every flux"
    return [make_target(name, enough / count, error, LEAST_WELL_DRAWN)]


def _of_intervals(intervals: pd.DataFrame) -> list[Target]:
    """Return the targets of coverage and pulls in the band i."""
    if intervals.empty:
        return []
    mine = (intervals["estimate"] == "posterior") & (intervals["bands"] == "i")
    found, part = [], intervals[mine & ~intervals["group"].str.startswith(("kind ", "i "))]
    for row in part.to_dict("records"):
        where = "" if row["group"] == "all" else f", {row['group']}"
        limits = {"pull_width": (0.85, 1.2)}
        if not where:
            limits = {"coverage_68": (0.64, 0.72), "coverage_95": (0.92, 0.98), "pull_width": (0.9, 1.1)}
        for column, (low, high) in limits.items():
            name = column.replace("_", " ") + " of fluxes in i" + where
            found.append(make_target(name, row[column], row[f"{column}_error"], low, high))
    return found


def _ratio(table: pd.DataFrame, one: str, other: str, high: float, where: str = "") -> list[Target]:
    """Return the target of the median absolute flux errors of two estimates of the same objects."""
    errors = table.assign(size=table["flux_error"].abs()).pivot(
        index=["scene", "object"], columns="estimate", values="size"
    )
    if not {one, other} <= set(errors):
        return []
    errors = errors[[one, other]].dropna().reset_index()
    if errors["scene"].nunique() < LEAST_SCENES:
        return []
    ratio = lambda a, b: np.median(a) / np.median(b)
    value = ratio(errors[one], errors[other])
    error = bootstrap_error(ratio, errors["scene"], errors[one], errors[other])
    return [make_target(f"median flux error, {one} over {other}{where}", value, error, None, high)]


def _change(one: pd.DataFrame, other: pd.DataFrame) -> Target:
    """Return the target of what a start that is too bright changes, in posterior sd."""
    both = one.merge(other, on=["scene", "object", "band"], suffixes=("_one", "_other"))
    change = (both["flux_one"] - both["flux_other"]) / both["sd_other"]
    size = lambda values: np.sqrt(np.mean(values**2))
    error = bootstrap_error(size, both["scene"], change)
    name = "change of the posterior mean by spectra started 20 times too bright, in sd"
    return make_target(name, size(change), error, None, MONTE_CARLO)

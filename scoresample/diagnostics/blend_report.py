"""From what was kept of every scene of a gallery to numbers in bins, intervals, and whether targets are met."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from scoresample.diagnostics.blend_targets import Target, find_targets
from scoresample.diagnostics.bootstrap import bootstrap_error
from scoresample.diagnostics.calibration_groups import BLENDEDNESS_EDGES, by_value, groups_of_fluxes, in_bins
from scoresample.errors import FAILED

MAGNITUDE_EDGES = (-np.inf, 23, 24.5, 26, np.inf)
BINS = {"i": ("magnitude", MAGNITUDE_EDGES), "blendedness": ("blendedness", BLENDEDNESS_EDGES)}
TARGET_BAND = "i"


class BlendReport(NamedTuple):
    """What a gallery says of methods; printing it shows errors in all, intervals, and targets.

    Attributes
    ----------
    table
        One row for each object and estimate: ``scene``, ``object``, ``estimate``, ``kind``, ``magnitude`` in i,
        ``blendedness`` of the true images, ``flux_error`` (eq. 14 of the paper), ``morphology`` and ``spectrum``
        (eq. 15).
    runs
        One row for each scene and method: how it ended, seconds, and notes such as R-hat.
    groups
        For each estimate all objects, those in bins of magnitude and blendedness, and those of each kind: medians of
        the absolute flux error and of the correlations, the first with its standard error by resampling scenes.
    intervals
        For each estimate with errors, in the band i and in all: coverage and pulls of all fluxes, in bins of true S/N
        (true flux over posterior sd), true blendedness and magnitude, and of each kind of object. Truths of a gallery
        are fixed, whatever the prior says of them: a choice by what is true leaves error bars as right as they are.
    targets
        See `Target`.
    """

    table: pd.DataFrame
    runs: pd.DataFrame
    groups: pd.DataFrame
    intervals: pd.DataFrame
    targets: tuple[Target, ...]

    @property
    def met(self) -> bool:
        """Whether every target is met."""
        return bool(self.targets) and all(target.status == "met" for target in self.targets)

    @property
    def failed(self) -> int:
        """How many runs of a method on a scene failed."""
        return int(self.runs["status"].str.startswith(FAILED).sum())

    def __repr__(self) -> str:
        lines = []
        if len(self.groups):
            shown = self.groups[self.groups["group"] == "all"].drop(columns="group")
            lines.append(shown.to_string(index=False, float_format="{:.4f}".format))
        if len(self.intervals):
            part = self.intervals[
                (self.intervals["bands"] == TARGET_BAND) & (self.intervals["group"] == "all")
            ]
            columns = ["estimate", "fluxes"]
            columns += [
                f"{name}{end}"
                for name in ("coverage_68", "coverage_95", "pull_width")
                for end in ("", "_error")
            ]
            lines += [
                f"Fluxes in {TARGET_BAND}",
                part[columns].to_string(index=False, float_format="{:.3f}".format),
            ]
        lines += [
            f"{self.failed} of {len(self.runs)} runs failed",
            "Targets:",
            *(f"  {t}" for t in self.targets),
        ]
        return "\n".join(lines)


def judge_blends(results: Sequence[Mapping[str, Any]]) -> BlendReport:
    """Judge what methods made of scenes; ``results`` are what `products.blends` keeps of each."""
    runs = pd.DataFrame([
        {name: result[name] for name in ("scene", "method", "status", "seconds")} | dict(result["notes"])
        for result in results
    ])  # fmt: skip
    rows = [
        {"scene": result["scene"], "estimate": label, "bands": result["bands"]} | row
        for result in results
        for label, objects in result["objects"].items()
        for row in objects
    ]
    # A posterior brings its MAP along; asked for by itself as well, it is there twice.
    table = pd.DataFrame(rows)
    if table.empty:
        empty = pd.DataFrame()
        return BlendReport(table, runs, empty, empty, ())
    table = table.drop_duplicates(["scene", "estimate", "object"]).reset_index(drop=True)
    intervals = _intervals(table)
    means = _posterior_means(table)
    several = {"flux", "truth", "sd", "pit", "crps", "crps_expected", "bands"}
    table = table.drop(columns=[name for name in table if name in several])
    return BlendReport(
        table, runs, _groups(table), intervals, find_targets(table, runs, intervals, means, BINS)
    )


def _groups(table: pd.DataFrame) -> pd.DataFrame:
    rows = []
    for label, part in table.groupby("estimate", sort=False):
        for name, inside in in_bins(part, BINS) + by_value(part, "kind"):
            here = part[inside]
            if here.empty:
                continue
            rows.append({
                "estimate": label,
                "group": name,
                "objects": len(here),
                "scenes": here["scene"].nunique(),
                "flux_error": here["flux_error"].abs().median(),
                "flux_error_error": bootstrap_error(np.median, here["scene"], here["flux_error"].abs()),
                "flux_bias": here["flux_error"].median(),
                "morphology": here["morphology"].median(),
                "spectrum": here["spectrum"].median(),
            })  # fmt: skip
    return pd.DataFrame(rows)


def _intervals(table: pd.DataFrame) -> pd.DataFrame:
    """Return coverage and pulls, in the band of the targets and in all bands."""
    found = []
    if "sd" not in table:
        return pd.DataFrame()
    for label, part in table[table["sd"].notna()].groupby("estimate", sort=False):
        fluxes = _fluxes(part)
        for bands, chosen in ((TARGET_BAND, fluxes[fluxes["band"] == TARGET_BAND]), ("all", fluxes)):
            if len(chosen):
                groups = groups_of_fluxes(chosen, {}, "kind", {TARGET_BAND: BINS[TARGET_BAND]})
                if len(groups):
                    found.append(groups.assign(estimate=label, bands=bands))
    return pd.concat(found, ignore_index=True) if found else pd.DataFrame()


def _fluxes(part: pd.DataFrame) -> pd.DataFrame:
    """Return a row for every flux of objects that have errors."""
    columns = ["truth", "flux", "sd", "pit", "crps", "crps_expected"]
    part = part.assign(band=part["bands"].map(list))
    rows = part[["scene", "magnitude", "blendedness", "kind", "band", *columns]].explode(
        ["band", *columns], ignore_index=True
    )
    rows[columns] = rows[columns].astype(float)
    return rows.assign(snr=rows["truth"] / rows["sd"], pull=(rows["flux"] - rows["truth"]) / rows["sd"])


def _posterior_means(table: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Return posterior mean and sd of each flux, one a row, for each estimate that has errors."""
    if "sd" not in table:
        return {}
    found = {}
    for label, part in table[table["sd"].notna()].groupby("estimate", sort=False):
        rows = part[["scene", "object", "flux", "sd"]].explode(["flux", "sd"])
        order = rows.groupby(["scene", "object"]).cumcount()
        found[label] = rows.assign(band=order).astype(float)
    return found

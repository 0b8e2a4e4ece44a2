"""The verdict on a calibration: from what was kept of every simulated scene to numbers, tests and reasons."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from scoresample.diagnostics.calibration_groups import groups_of_fluxes, single_fluxes
from scoresample.diagnostics.coverage import uniformity
from scoresample.diagnostics.tarp import Tarp, tarp

LEVEL = 0.01
"""How often a posterior that is right fails."""

LEAST_ESS, LEAST_SCENES, MOST_UNUSED, MOST_ERROR = 100, 20, 0.1, 0.04


class Calibration(NamedTuple):
    """What `judge` found; printing it shows the groups and the verdict.

    Attributes
    ----------
    scenes
        One row for each simulated scene: status, verdict on its draws, largest R-hat and smallest effective sample size
        of a flux, share of draws with light in all sources, ``tarp``, and whether it is ``used``.
    table
        One row for each flux of each scene that is used: truth, posterior mean and sd, ``rank`` among 63 draws,
        ``pit``, ``crps`` and what it is on average where draws are right, ``snr`` (mean over sd), ``blendedness``,
        ``pull``.
    groups
        All fluxes, and those in bins of S/N and of blendedness: coverage of 68 and 95 % intervals, mean and width of
        the pulls, each with its standard error; ``crps_ratio``, the mean score over what it is where draws are right.
    fluxes
        The same for each object and band.
    tarp
        See `diagnostics.tarp`.
    tests
        p-value of each test, by name; a right posterior has one below 0.01 / (number of tests) once in 100 times.
    status
        ``passed``; ``failed``: a test is not passed; ``undecided``: there is too little to tell.
    reasons
        One sentence for each thing that is wrong or missing.
    """

    scenes: pd.DataFrame
    table: pd.DataFrame
    groups: pd.DataFrame
    fluxes: pd.DataFrame
    tarp: Tarp
    tests: dict[str, float]
    status: str
    reasons: tuple[str, ...]

    @property
    def passed(self) -> bool:
        """Whether the posterior is calibrated, as far as was measured."""
        return self.status == "passed"

    @property
    def verdict(self) -> str:
        """The verdict in words, with the statistical error, one line for each reason."""
        words = {"passed": "calibrated", "failed": "NOT calibrated", "undecided": "undecided"}[self.status]
        lines = [f"Verdict: {words}"]
        if len(self.groups):
            everything = self.groups.iloc[0]
            lines[0] += "; " + ", ".join(
                f"{name} {_percent(everything[key], everything[f'{key}_error'])}"
                for name, key in (("68 % intervals hold", "coverage_68"), ("95 % intervals", "coverage_95"))
            )
            lines[0] += f", pull width {everything['pull_width']:.3f} +- {everything['pull_width_error']:.3f}"
        return "\n".join([*lines, *(f"  - {reason}" for reason in self.reasons)])

    def __repr__(self) -> str:
        shown = self._shown()
        used = f"{int(self.scenes['used'].sum())} of {len(self.scenes)} scenes used"
        return "\n".join([shown, f"TARP p-value {self.tarp.p_value:.3g}; {used}", self.verdict])

    def _shown(self) -> str:
        """Return the groups, each number with its error."""
        if self.groups.empty:
            return "no group of two scenes or more"
        shown = self.groups[["group", "fluxes", "scenes"]].copy()
        for name, key, factor, digits in (
            ("68 % hold [%]", "coverage_68", 100, 1),
            ("95 % hold [%]", "coverage_95", 100, 1),
            ("pull mean", "pull_mean", 1, 2),
            ("pull width", "pull_width", 1, 2),
        ):
            shown[name] = [
                f"{factor * value:.{digits}f} +- {factor * error:.{digits}f}"
                for value, error in zip(self.groups[key], self.groups[f"{key}_error"], strict=True)
            ]
        shown["CRPS ratio"] = self.groups["crps_ratio"].map("{:.2f}".format)
        return shown.to_string(index=False)


def judge(scenes: Sequence[Mapping[str, Any]]) -> Calibration:
    """Judge simulated scenes.

    Bins are of the posterior's own S/N and blendedness. A posterior is right on average over truths *given the data*,
    so every choice by the data, or by the draws, leaves it right; a choice by the true flux would not.

    Parameters
    ----------
    scenes
        What `products.calibration_scene` keeps of each. Those that failed, or have fewer than 100 effective draws of a
        flux, are not used; a tenth of such scenes, fewer than 20 others, or an error of the 68 % coverage above 4 %
        leave the verdict undecided.
    """
    about = pd.DataFrame([{k: v for k, v in s.items() if k not in ("fluxes", "others")} for s in scenes])
    about["converged"] = [scene.get("converged") is True for scene in scenes]
    about["used"] = (about["status"] == "done") & (about["ess"].astype(float) >= LEAST_ESS)
    used = [scene for scene, use in zip(scenes, about["used"], strict=True) if use]
    table = pd.DataFrame([{"scene": scene["scene"], **flux} for scene in used for flux in scene["fluxes"]])
    groups, fluxes, tests = pd.DataFrame(), pd.DataFrame(), {}
    curve = tarp(np.array([scene["tarp"] for scene in used], float))
    if len(table):
        table["pull"] = (table["mean"] - table["truth"]) / table["sd"]
        groups, fluxes = groups_of_fluxes(table, tests), single_fluxes(table, tests)
        for name in used[0]["others"]:
            tests[f"ranks of {name}"] = uniformity(np.array([scene["others"][name] for scene in used]))
        tests["TARP, all fluxes together"] = curve.p_value
    wrong = _wrong(tests, groups)
    missing = _missing(about, groups)
    status = "failed" if wrong else "undecided" if missing else "passed"
    return Calibration(about, table, groups, fluxes, curve, tests, status, (*wrong, *missing))


def _wrong(tests: Mapping[str, float], groups: pd.DataFrame) -> list[str]:
    """Return a sentence for each test that is not passed, the clearest first."""
    found = []
    for name, p_value in sorted(tests.items(), key=lambda item: item[1]):
        if p_value * len(tests) < LEVEL:
            what, _, group = name.partition(", ")
            if what in groups:
                row = groups.set_index("group").loc[group]
                value, error = row[what], row[f"{what}_error"]
                shown = (
                    _percent(value, error) if what.startswith("coverage") else f"{value:.3f} +- {error:.3f}"
                )
                name = (
                    f"{what.replace('_', ' ')} of {group} is {shown}"
                    if group != "all"
                    else f"{what.replace('_', ' ')} is {shown}"
                )
            found.append(f"{name}: p = {p_value:.1g} in one of {len(tests)} tests")
    return found


def _missing(about: pd.DataFrame, groups: pd.DataFrame) -> list[str]:
    """Return a sentence for each thing that leaves the verdict undecided."""
    found, total, used = [], len(about), int(about["used"].sum())
    failed = about["status"] != "done"
    few = int((~failed & ~about["used"]).sum())
    if few > MOST_UNUSED * total:
        found.append(
            f"{few} of {total} scenes have too few draws for a verdict (fewer than {LEAST_ESS} effective ones of a "
            "flux); draw longer"
        )
    if failed.sum() > MOST_UNUSED * total:
        found.append(
            f"{int(failed.sum())} of {total} scenes failed, the first: {about.loc[failed, 'status'].iloc[0]}"
        )
    if used < LEAST_SCENES:
        found.append(f"{used} scenes can be used, {LEAST_SCENES} are needed; simulate more")
    elif groups["coverage_68_error"].iloc[0] > MOST_ERROR:
        error = groups["coverage_68_error"].iloc[0]
        found.append(
            f"the coverage of 68 % intervals is known to {100 * error:.1f} %, at most {100 * MOST_ERROR:.0f} % are "
            f"needed; simulate about {int(np.ceil(used * (error / MOST_ERROR) ** 2))} scenes"
        )
    return found


def _percent(value: float, error: float) -> str:
    return f"{100 * value:.1f} +- {100 * error:.1f} %"

"""Results as text."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from scoresample.products.plain import plus_minus


def result(outcome, out: Path, *, fluxes: bool = True) -> str:
    """Return a page on one scene: fluxes, fit, verdict, files."""
    if not outcome.report:
        return f"{outcome.name}: {outcome.status} before the first draw; --resume goes on."
    report = outcome.report
    lines = [flux_table(report), ""] if fluxes else []
    lines += [
        f"{outcome.name}: {outcome.status}, {'' if outcome.converged else 'NOT '}converged",
        *(f"  - {reason}" for reason in report["verdict"]["reasons"]),
        *(f"  note: {note}" for note in report["verdict"].get("notes", ())),
        *fit(report["fit"]),
        f"MAP: {report['map']['status']} after {report['map']['steps']} steps; {chi2(report['chi2'])}",
        f"draws: {report['settings']['num_kept']} x {report['settings']['num_chains']} chains; {_mixing(report)}",
        *(f"warning: {text}" for text in report["warnings"]),
        files(out),
    ]
    return "\n".join(lines)


def fit(check: Mapping[str, Any] | None) -> list[str]:
    """Return the verdict of the predictive check with its reasons, as lines; none where it was not made."""
    if check is None:
        return []
    words = (
        "residuals look like noise in every band"
        if check["passed"]
        else "the model does NOT explain the data"
    )
    return [f"fit: {words}", *(f"  - {reason}" for reason in check["reasons"])]


def files(out: Path) -> str:
    """Return a line on what is in a folder."""
    return f"files: {out}: {', '.join(sorted(path.name for path in out.iterdir() if path.is_file()))}"


def one_line(outcome) -> str:
    """Return a line on one scene of several."""
    if not outcome.report:
        return f"{outcome.name}: {outcome.status}"
    reasons = "; ".join(outcome.report["verdict"]["reasons"])
    verdict = "converged" if outcome.converged else f"NOT converged ({reasons})"
    return f"{outcome.name}: {outcome.status}, {verdict}; chi2 per pixel {outcome.report['chi2']['all']:.3f}"


def chi2(values: Mapping[str, Any]) -> str:
    """Return the chi-square per pixel of all bands and of each, and the reduced one where draws are there."""
    bands = ", ".join(f"{band} {value:.3f}" for band, value in values["bands"].items())
    per_pixel = f"chi2 per pixel {values['all']:.3f} ({bands})"
    if values.get("reduced") is None:
        return per_pixel
    effective = f"{values['effective_parameters']:.0f} effective parameters"
    return f"reduced chi2 {values['reduced']:.3f} with {effective}; {per_pixel}"


def prior_table(figures: Mapping[str, Any]) -> str:
    """Return what a report card measured, beside the limits of a shipped prior."""
    from scoresample.products.prior_report import verdict_rows

    rows = verdict_rows(figures)
    width = max(len(what) for what, _, _ in rows)
    lines = [f"{'what':<{width}}     value     limit"]
    for what, value, limit in rows:
        shown = f"{value:10.3g}" if np.isfinite(value) else f"{'-':>10}"
        missed = "" if not limit or value <= limit else "  MISSED" if np.isfinite(value) else "  NOT MEASURED"
        lines.append(f"{what:<{width}}{shown}" + ("" if limit is None else f"{limit:10.3g}{missed}"))
    for part in ("draws", "walk"):
        if part in figures:
            one = figures[part]
            lines.append(
                f"{part}: {one['number']} against {one['number_of_galaxies']} galaxies; chance alone exceeds a "
                f"distance of {one['chance']:.3f} once in twenty"
            )
    return "\n".join(lines)


def flux_table(report: Mapping[str, Any]) -> str:
    """Return posterior means and standard deviations, a row for each object and a column for each band."""
    fluxes = report["fluxes"]
    bands = list(dict.fromkeys(row["band"] for row in fluxes))
    cells = {(row["object"], row["band"]): plus_minus(row["mean"], row["sd"]) for row in fluxes}
    unit = f"flux [{report['flux_unit']}]" if report["flux_unit"] else "flux"
    names = dict.fromkeys(row["object"] for row in fluxes)
    return _aligned([[unit, *bands], *([name, *(cells[name, band] for band in bands)] for name in names)])


def truth(report: Mapping[str, Any]) -> str:
    """Return the true flux of every object and band beside the posterior, and how well they agree together."""
    rows = [["object", "band", "truth", "posterior", "pull"]]
    pulls = []
    for row in report["fluxes"]:
        pulls.append((row["mean"] - row["truth"]) / row["sd"])
        posterior = plus_minus(row["mean"], row["sd"])
        rows.append([row["object"], row["band"], f"{row['truth']:.5g}", posterior, f"{pulls[-1]:+.2f}"])
    inside = [row["p16"] <= row["truth"] <= row["p84"] for row in report["fluxes"]]
    return "\n".join(
        [
            f"fluxes in {report['flux_unit'] or 'unit of the images'}; pull = (posterior mean - truth) / posterior sd",
            _aligned(rows),
            f"root mean square of the pulls {np.sqrt(np.mean(np.square(pulls))):.2f} (1 is expected); "
            f"{sum(inside)} of {len(inside)} truths within the central 68 %",
        ]
    )


def _mixing(report: Mapping[str, Any]) -> str:
    rows = [row for row in report["verdict"]["table"] if row["kind"] == "flux"]
    r_hat = [row["r_hat"] for row in rows if row["r_hat"] is not None]
    ess = [row["ess_bulk"] for row in rows if row["ess_bulk"] is not None]
    if not r_hat or not ess:
        return "mixing unknown"
    return f"of all fluxes the largest R-hat is {max(r_hat):.4f}, the smallest effective sample size {min(ess):.0f}"


def _aligned(rows: Sequence[Sequence[str]]) -> str:
    widths = [max(len(row[c]) for row in rows) for c in range(len(rows[0]))]
    return "\n".join(
        "  ".join(
            [row[0].ljust(widths[0]), *(cell.rjust(w) for cell, w in zip(row[1:], widths[1:], strict=True))]
        )
        for row in rows
    )

"""The verdict on a run: whether its draws can be used, and why not."""

import html
from typing import NamedTuple

import numpy as np
import pandas as pd
from jaxtyping import Float

from scoresample.diagnostics.audit import LIMIT, Audit, audit_of
from scoresample.diagnostics.convergence import chain_shape, convergence_table, energy_bfmi, num_divergences
from scoresample.diagnostics.flux_splits import FluxSplit, flux_splits
from scoresample.samplers.base import Draws

SHOWN_ROWS = 60
UNREPORTED = ("image", "log_prob")


class Diagnosis(NamedTuple):
    """What `diagnose` found; printing it shows the table and the verdict.

    Attributes
    ----------
    table
        See `convergence_table`, with a column ``ok``.
    bfmi
        Energy fraction of each chain, see `energy_bfmi`; empty for samplers without an energy.
    num_divergences
        Draws whose trajectory diverged.
    run_reasons
        What is wrong with the run as a whole, one sentence each.
    reasons
        All that is wrong, ``run_reasons`` first; empty when converged.
    thresholds
        Those it was judged by.
    notes
        What is to be known of the draws besides, one sentence each: what is behind the reasons, or no fault of the run
        and nothing that longer chains mend.
    audit
        Of the score of the terms that have no value; None where all have one.
    splits
        Pairs of objects between which chains split flux differently (`diagnostics.flux_splits`); each is a note too.
    """

    table: pd.DataFrame
    bfmi: Float[np.ndarray, " chain"]
    num_divergences: int
    run_reasons: tuple[str, ...]
    reasons: tuple[str, ...]
    thresholds: dict[str, float]
    notes: tuple[str, ...] = ()
    audit: Audit | None = None
    splits: tuple[FluxSplit, ...] = ()

    @property
    def converged(self) -> bool:
        """Whether nothing is wrong."""
        return not self.reasons

    @property
    def more_draws_may_help(self) -> bool:
        """Whether all that is wrong are numbers that grow better with the number of draws."""
        wrong = self.table.loc[~self.table["ok"]]
        return not self.converged and not self.run_reasons and bool((wrong["problem"] == "").all())

    @property
    def verdict(self) -> str:
        """The verdict in words, one line for each reason and each note."""
        first = "Verdict: converged" if self.converged else "Verdict: NOT converged"
        return "\n".join(
            [
                first,
                *(f"  - {reason}" for reason in self.reasons),
                *(f"  note: {note}" for note in self.notes),
            ]
        )

    def to_dict(self) -> dict:
        """Return everything as plain lists, numbers and strings for json; NaN becomes None."""
        rows = [
            {"quantity": name} | {column: _plain(value) for column, value in row.items()}
            for name, row in self.table.iterrows()
        ]
        return {
            "converged": self.converged,
            "reasons": list(self.reasons),
            "notes": list(self.notes),
            "audit": None if self.audit is None else {k: _plain(v) for k, v in self.audit._asdict().items()},
            "splits": [{"objects": list(s.objects), "bands": list(s.bands)} for s in self.splits],
            "thresholds": dict(self.thresholds),
            "num_divergences": self.num_divergences,
            "bfmi": [_plain(value) for value in self.bfmi],
            "table": rows,
        }

    def __repr__(self) -> str:
        table, note = self._shown()
        text = table.to_string(float_format=lambda value: f"{value:.4g}", na_rep="-")
        return "\n".join([text, *note, self._energy(), self.verdict])

    def _repr_html_(self) -> str:
        table, note = self._shown()
        shown = table.to_html(float_format=lambda value: f"{value:.4g}", na_rep="-", border=0)
        lines = html.escape("\n".join([*note, self._energy(), self.verdict]))
        return f"{shown}<pre>{lines}</pre>"

    def _shown(self) -> tuple[pd.DataFrame, list[str]]:
        """Return the rows to show, the worst ones of a long table."""
        table = self.table.drop(columns=["kind"])
        if len(table) <= SHOWN_ROWS:
            return table, []
        worst = table.sort_values("r_hat", ascending=False, na_position="first").index[:SHOWN_ROWS]
        kept = table.loc[[name for name in table.index if name in set(worst)]]
        return kept, [f"({SHOWN_ROWS} of {len(table)} rows, those of the largest R-hat)"]

    def _energy(self) -> str:
        bfmi = ", ".join(f"{value:.2f}" for value in self.bfmi) or "none"
        return f"E-BFMI by chain: {bfmi}; divergences: {self.num_divergences}"


LEAST_OF_ACCEPTANCE = 0.75
"""Of the acceptance that warm-up asks for; below, a note says so."""


def diagnose(
    draws: Draws,
    *,
    max_rhat: float = 1.01,
    min_ess: float = 400.0,
    min_bfmi: float = 0.3,
    max_divergences: int = 0,
    max_rhat_unreported: float = 1.05,
    min_acceptance_unadjusted: float = 0.9,
    max_curl: float = LIMIT,
    audited: Audit | bool = True,
) -> Diagnosis:
    """Judge whether draws can be used.

    Parameters
    ----------
    draws
        From `sample`.
    max_rhat, min_ess
        For every flux, background and free number: largest rank-normalized split R-hat, and smallest bulk
        and tail effective sample size (the values of Vehtari et al. 2021).
    min_bfmi
        Smallest energy fraction of a chain (Betancourt 2016).
    max_divergences
        Largest number of divergent draws.
    max_rhat_unreported
        For the worst pixel of an image and for log_prob, which no catalog reports. With 400 effective draws
        the largest R-hat of some thousand well-mixed pixels is about 1.05.
    min_acceptance_unadjusted
        For draws that nothing accepted or rejected: the smallest mean rate at which Metropolis' rule would have. Chains
        of too long steps agree with each other on a distribution that is too wide. Above it, that draws are unadjusted
        is a note.
    max_curl
        Of the score of terms that have no value, see `audit`: a score that is no gradient belongs to no density.
    audited
        That audit; by default the one that the settings of the draws hold, or else it is made from the draws, which
        takes some thousand scores. False leaves it out.

    Returns
    -------
    Table and verdict. Whatever cannot be computed is a reason, never an error.
    """
    table = convergence_table(draws)
    unreported = table["kind"].isin(UNREPORTED)
    limit = pd.Series(np.where(unreported, max_rhat_unreported, max_rhat), table.index)
    high = table["r_hat"] > limit
    few = ~unreported & (table[["ess_bulk", "ess_tail"]].min(axis=1) < min_ess)
    table["ok"] = ~high & ~few & (table["problem"] == "")
    bfmi, divergences = energy_bfmi(draws), num_divergences(draws)
    run_reasons = _run_reasons(draws, bfmi, divergences, min_bfmi, max_divergences)
    too_long, notes = _on_unadjusted(draws, min_acceptance_unadjusted)
    run_reasons += too_long
    notes += _on_acceptance(draws)
    found = audit_of(draws) if audited is True else audited or None
    if found is not None:
        notes += (str(found),)
        run_reasons += _on_curl(found, max_curl)
    splits = flux_splits(draws, table, max_rhat)
    notes += tuple(f"{split}: their sums agree" for split in splits)
    return Diagnosis(
        table=table,
        bfmi=bfmi,
        num_divergences=divergences,
        run_reasons=run_reasons,
        reasons=(*run_reasons, *_row_reasons(table, limit, few, min_ess)),
        thresholds={
            "max_rhat": max_rhat,
            "min_ess": min_ess,
            "min_bfmi": min_bfmi,
            "max_divergences": max_divergences,
            "max_rhat_unreported": max_rhat_unreported,
            "min_acceptance_unadjusted": min_acceptance_unadjusted,
            "max_curl": max_curl,
        },
        notes=notes,
        audit=found,
        splits=splits,
    )


def _run_reasons(draws, bfmi, divergences, min_bfmi, max_divergences) -> tuple[str, ...]:
    """Return what is wrong with a run as a whole."""
    reasons = []
    if draws.status != "done":
        reasons.append(f"the run ended with status {draws.status!r}")
    if chain_shape(draws)[0] == 1:
        reasons.append("one chain: R-hat compares chains; run at least 2, better 4")
    if divergences > max_divergences:
        reasons.append(
            f"{divergences} divergent draws (at most {max_divergences}): the draws miss a narrow region"
        )
    if np.isnan(bfmi).any():
        reasons.append("E-BFMI cannot be computed: energies are constant, not finite or too few")
    elif (bfmi < min_bfmi).any():
        reasons.append(
            f"E-BFMI is {bfmi.min():.2f} (at least {min_bfmi:g}): the tails are reached too slowly"
        )
    return tuple(reasons)


def _on_unadjusted(draws: Draws, least: float) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return what is wrong with the steps of unadjusted draws, and what is to be known of them."""
    if not draws.settings.get("unadjusted", False):
        return (), ()
    rate = np.asarray(draws.stats.get("acceptance_rate", ()), float)
    mean = float(np.mean(rate)) if rate.size else np.nan
    step = draws.settings.get("step_size")
    size = "" if step is None else f" of {step:.3g}"
    would = "" if np.isnan(mean) else f"; Metropolis' rule would accept {mean:.2f} of the moves"
    note = (
        f"the draws are unadjusted: no accept/reject corrects the bias of their step size{size}{would}. Compare with a "
        "smaller step_size, or with NUTS, HMC or MALA."
    )
    if mean < least:
        return (
            f"unadjusted steps are too long: Metropolis' rule would accept {mean:.2f} of them (at least {least:g}): "
            "take a smaller step_size",
        ), (note,)
    return (), (note,)


def _on_acceptance(draws: Draws) -> tuple[str, ...]:
    """Return what is to be known of draws that accept far fewer moves than their warm-up asked for."""
    sampler = draws.settings.get("sampler", {})
    asked = sampler.get("target_acceptance") if sampler.get("step_size") is None else None
    rate = np.asarray(draws.stats.get("acceptance_rate", ()), float)
    if asked is None or not rate.size or np.mean(rate) > LEAST_OF_ACCEPTANCE * asked:
        return ()
    return (
        f"of the moves {np.mean(rate):.2f} are accepted, where warm-up asked for {asked:g}: its steps were found where "
        "chains are no more; take a longer warm-up",
    )


def _on_curl(found: Audit, most: float) -> tuple[str, ...]:
    """Return what is wrong with a score."""
    if found.curl <= most:
        return ()
    return (
        f"the score of {', '.join(found.of)} is no gradient: |J - J^T| / |J| is {found.curl:.2g} +- "
        f"{found.curl_error:.1g} (at most {most:g}); no density has it, and error bars are off by more than 2 %",
    )


def _row_reasons(table: pd.DataFrame, limit: pd.Series, few: pd.Series, min_ess: float) -> list[str]:
    """Return what is wrong with single quantities, the worst of each kind by name.

    ``limit`` is the largest R-hat allowed of each row, ``few`` says which rows have too few effective draws.
    """
    reasons = []
    for problem in [p for p in table["problem"].unique() if p]:
        reasons.append(f"{problem}: {_named(table.index[table['problem'] == problem])}")
    for most in np.unique(limit):
        worst = table["r_hat"][(limit == most) & (table["r_hat"] > most)].sort_values(ascending=False)
        if len(worst):
            reasons.append(
                f"R-hat is {worst.iloc[0]:.3f} for {_named(worst.index)} (at most {most:g}): draw longer"
            )
    if few.any():
        least = table.loc[few, ["ess_bulk", "ess_tail"]].min(axis=1).sort_values()
        reasons.append(
            f"the effective sample size is {least.iloc[0]:.0f} for {_named(least.index)} "
            f"(at least {min_ess:g}): draw longer"
        )
    return reasons


def _named(names: pd.Index) -> str:
    return names[0] if len(names) == 1 else f"{names[0]} and {len(names) - 1} more"


def _plain(value):
    """Return a json value; None for NaN."""
    if isinstance(value, float | np.floating):
        return float(value) if np.isfinite(value) else None
    return value.item() if isinstance(value, np.generic) else value

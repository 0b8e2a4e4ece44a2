"""What is made of the draws of a run: predictive check, hallucination score, catalogs and pictures."""

import warnings
from pathlib import Path
from typing import Any

from astropy.table import QTable

from scoresample.diagnostics.hallucination import hallucination_score
from scoresample.diagnostics.predictive import PredictiveCheck, predictive_check
from scoresample.diagnostics.verdict import Diagnosis
from scoresample.errors import ScoresampleWarning
from scoresample.products.catalog import flux_catalog, flux_draws
from scoresample.products.hallucination_plots import plot_hallucination
from scoresample.products.pipeline_draws import keys_of
from scoresample.products.pipeline_files import (
    CATALOGS,
    FIT_PICTURE,
    FLUX_DRAWS,
    HALLUCINATION_PICTURE,
    PICTURE,
)
from scoresample.products.pipeline_problem import Problem
from scoresample.products.pipeline_settings import RunSettings
from scoresample.products.plots import plot_scene
from scoresample.products.predictive_plots import plot_predictive
from scoresample.products.tables import write_catalog
from scoresample.samplers.base import Draws
from scoresample.samplers.optimize import MAPResult


def check_fit(problem: Problem, settings: RunSettings, draws: Draws, folder: Path) -> PredictiveCheck | None:
    """Return `predictive_check` and write ``fit.png``; None without draws."""
    if draws.settings["num_kept"] == 0:
        return None
    check = predictive_check(keys_of(problem, settings)[2], draws)
    plot_predictive(check, folder / FIT_PICTURE)
    return check


def score_hallucination(problem: Problem, settings: RunSettings, draws: Draws):
    """Return `hallucination_score`, or None without draws."""
    if draws.settings["num_kept"] == 0:
        return None
    return hallucination_score(keys_of(problem, settings)[1], problem.posterior, draws)


def tabulate(draws: Draws, settings: RunSettings, folder: Path, hall: Any, diagnosis: Diagnosis) -> QTable:
    """Write the flux catalog and the flux draws; return the catalog."""
    table = flux_catalog(draws, hall, diagnosis=diagnosis)
    _warn_of_light_elsewhere(table)
    _warn_of_cancelling(table)
    for name in CATALOGS:
        write_catalog(table, folder / name)
    if draws.settings["num_kept"]:
        write_catalog(flux_draws(draws, settings.num_flux_draws), folder / FLUX_DRAWS)
    return table


def picture(problem: Problem, drawn: Draws | MAPResult, folder: Path) -> None:
    """Write ``scene.png``, with the true fluxes marked where they are known."""
    plot_scene(problem.posterior, drawn, folder / PICTURE, true_flux=problem.catalog.true_flux)


def picture_hallucination(problem: Problem, draws: Draws, hall: Any, folder: Path) -> None:
    """Write ``hallucination.png``, or take away that of an earlier run where there is no free image or no draw."""
    if hall is None or not hall.difference:
        (folder / HALLUCINATION_PICTURE).unlink(missing_ok=True)
    else:
        plot_hallucination(problem.posterior, draws, hall, folder / HALLUCINATION_PICTURE)


def _warn_of_light_elsewhere(table: QTable) -> None:
    """Warn of objects whose light is not where they are: companions and knots that the catalog lacks."""
    off = [f"{row['objectId']} ({row['peakOffset'].value:.1f})" for row in table[table["flag_offCenter"]]]
    if off:
        warnings.warn(
            f"the light of {', '.join(off)} peaks away from the center, by that many pixels: it may be another "
            "object's, which the catalog lacks; look at scene.png, and add what is missing.",
            ScoresampleWarning,
            stacklevel=3,
        )


def _warn_of_cancelling(table: QTable) -> None:
    """Warn of fluxes that are more negative than noise makes them."""
    negative = ", ".join(table["objectId"][table["flag_negative"]])
    if negative:
        warnings.warn(
            f"fluxes of {negative} are below zero by more than 3 of the errors that they would have alone: they cancel "
            "a neighbour's; run again with --least-flux -2.",
            ScoresampleWarning,
            stacklevel=3,
        )

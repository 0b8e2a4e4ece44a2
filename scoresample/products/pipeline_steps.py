"""The steps of a run one at a time: each reads what the one before left in the folder."""

import dataclasses
from pathlib import Path

from astropy.table import QTable

from scoresample.diagnostics.verdict import Diagnosis, diagnose
from scoresample.products.archive import save_report
from scoresample.products.pipeline_draws import climb, draw
from scoresample.products.pipeline_files import (
    DRAWS,
    MAP,
    REPORT,
    load_map,
    model_settings,
    read_stored,
    restore_draws,
)
from scoresample.products.pipeline_outputs import (
    check_fit,
    picture,
    picture_hallucination,
    score_hallucination,
    tabulate,
)
from scoresample.products.pipeline_problem import prepare
from scoresample.products.pipeline_report import chi2_per_pixel, make_report, noting_warnings
from scoresample.products.pipeline_settings import RunSettings
from scoresample.products.report_page import write_page
from scoresample.samplers.base import Draws
from scoresample.samplers.endings import Deadline
from scoresample.samplers.optimize import MAPResult


def map_scene(
    path: str | Path, out: str | Path, settings: RunSettings, *, progress: bool = False
) -> tuple[MAPResult, dict]:
    """Find the MAP of a scene file, write ``map.npz``, and return it with its chi-square per pixel."""
    deadline, folder = Deadline(settings.max_seconds), Path(out)
    problem = prepare(path, settings)
    folder.mkdir(parents=True, exist_ok=True)
    best = climb(problem, settings, folder, deadline, progress=progress)
    return best, chi2_per_pixel(problem.posterior, best.position)


def sample_scene(
    path: str | Path, out: str | Path, settings: RunSettings, *, resume: bool = False, progress: bool = False
) -> Draws:
    """Draw from the posterior, from ``map.npz`` on and with its model, and write ``draws.nc``."""
    deadline, folder = Deadline(settings.max_seconds), Path(out)
    settings = dataclasses.replace(settings, **model_settings(folder / MAP))
    problem = prepare(path, settings)
    best = load_map(folder / MAP, problem.posterior, problem.provenance, settings)
    return draw(problem, settings, best, folder, deadline, resume=resume, progress=progress)


def diagnose_scene(path: str | Path, out: str | Path) -> Diagnosis:
    """Judge ``draws.nc`` and write ``report.json`` and ``report.html``.

    Whether images have mixed is judged where all draws of them were kept; whether they fit, and what of them the prior
    made up, where any were.
    """
    folder = Path(out)
    with noting_warnings() as warned:
        stored = read_stored(folder / DRAWS)
        problem = prepare(path, stored.run)
        best = load_map(folder / MAP, problem.posterior, problem.provenance, stored.run)
        draws = restore_draws(stored, problem.posterior, problem.provenance, images=False)
        diagnosis = diagnose(draws)
        check = hall = None
        if stored.has_images(parameter.name for parameter in problem.posterior.parameters):
            whole = restore_draws(stored, problem.posterior, problem.provenance, images=True)
            check = check_fit(problem, stored.run, whole, folder)
            hall = score_hallucination(problem, stored.run, whole)
            picture_hallucination(problem, whole, hall, folder)
    save_report(folder / REPORT, make_report(problem, best, draws, diagnosis, check, hall, {}, warned))
    write_page(folder)
    return diagnosis


def catalog_scene(path: str | Path, out: str | Path) -> tuple[QTable, Diagnosis]:
    """Write catalogs and ``hallucination.png`` of ``draws.nc``; return the catalog and the verdict behind its flags."""
    folder = Path(out)
    stored = read_stored(folder / DRAWS)
    problem = prepare(path, stored.run)
    diagnosis = diagnose(restore_draws(stored, problem.posterior, problem.provenance, images=False))
    draws = restore_draws(stored, problem.posterior, problem.provenance, images=True)
    hall = score_hallucination(problem, stored.run, draws)
    picture_hallucination(problem, draws, hall, folder)
    table = tabulate(draws, stored.run, folder, hall, diagnosis)
    if (folder / REPORT).exists():
        write_page(folder)
    return table, diagnosis


def plot_files(path: str | Path, out: str | Path) -> str:
    """Write ``scene.png`` of ``draws.nc``, or of ``map.npz`` while there are no draws; return which."""
    folder = Path(out)
    if (folder / DRAWS).exists():
        stored = read_stored(folder / DRAWS)
        if stored.settings["num_kept"]:
            problem = prepare(path, stored.run)
            draws = restore_draws(stored, problem.posterior, problem.provenance, images=True)
            picture(problem, draws, folder)
            if (folder / REPORT).exists():
                write_page(folder)
            return DRAWS
    settings = RunSettings(**model_settings(folder / MAP))
    problem = prepare(path, settings)
    picture(problem, load_map(folder / MAP, problem.posterior, problem.provenance, settings), folder)
    return MAP

"""What ``report.json`` says about a run."""

import importlib.metadata
import platform
import warnings
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from typing import Any

import jax
import numpy as np

from scoresample.data.catalog import Catalog
from scoresample.density.base import Position
from scoresample.density.posterior import Posterior
from scoresample.diagnostics.convergence import unseen_fluxes
from scoresample.diagnostics.predictive import PredictiveCheck
from scoresample.diagnostics.verdict import Diagnosis
from scoresample.errors import ScoresampleWarning
from scoresample.products.photometry import LEVELS, flux_samples, variance_from_neighbours
from scoresample.samplers.base import Draws
from scoresample.samplers.optimize import MAPResult

_DECISIVE = (
    "scoresample",
    "jax",
    "jaxlib",
    "numpy",
    "blackjax",
    "numpyro",
    "equinox",
    "optax",
    "arviz-stats",
)


def make_report(
    problem,
    best: MAPResult,
    draws: Draws,
    diagnosis: Diagnosis,
    check: PredictiveCheck | None,
    hall: Any,
    seconds: dict[str, float],
    warned: Sequence[str],
) -> dict[str, Any]:
    """Return all that is to be known of a run, as plain values once `save_report` has written it.

    ``fit`` is the predictive check, None without draws of the images; ``chi2`` the chi-square of the residuals at the
    MAP, see `reduced_chi2`; ``background`` the posterior of the constant of every band, in flux per pixel.
    """
    posterior = problem.posterior
    frame = posterior.observation.frame
    return {
        "scene": problem.name,
        "status": draws.status,
        "input": problem.provenance,
        "verdict": diagnosis.to_dict(),
        "fit": None if check is None else check.to_dict(),
        "map": {"status": best.status, "steps": len(best.history.log_prob)},
        "chi2": reduced_chi2(posterior, best, draws),
        "flux_unit": frame.flux_unit,
        "background": _background(draws, frame.bands),
        "fluxes": _fluxes(draws, problem.catalog),
        "confidence": None if hall is None else hall.confidence,
        "light_from_data": None if hall is None else hall.light_from_data,
        "model": str(posterior),
        "noise_estimated": posterior.observation.noise_estimated,
        "settings": draws.settings,
        "seconds": seconds,
        "warnings": list(warned),
        "versions": versions(),
    }


def chi2_per_pixel(posterior: Posterior, position: Position) -> dict[str, Any]:
    r"""Return :math:`\sum w r^2 / N` over the N pixels with weight, of ``all`` bands and of each by name.

    r is data minus model at a position, with the fluxes most probable there.
    """
    observation = posterior.observation
    weight = np.asarray(observation.inverse_variance, np.float64)
    model = np.asarray(posterior.source_images(position), np.float64).sum(axis=0)
    terms = weight * (np.asarray(observation.images, np.float64) - model) ** 2
    count = (weight > 0).sum(axis=(1, 2))
    per_band = terms.sum(axis=(1, 2)) / np.maximum(count, 1)
    by_name = dict(zip(observation.frame.bands, per_band.tolist(), strict=True))
    return {"all": float(terms.sum() / count.sum()), "bands": by_name}


def reduced_chi2(posterior: Posterior, best: MAPResult, draws: Draws) -> dict[str, Any]:
    r"""Return `chi2_per_pixel` at the MAP, and with draws the reduced one.

    .. math:: \chi^2_\nu = \frac{\chi^2_\mathrm{MAP}}{N - p}, \qquad p = \langle \chi^2 \rangle - \chi^2_\mathrm{MAP}

    with the mean over draws. p, the effective number of parameters, is that of Spiegelhalter et al. (2002), J. R. Stat.
    Soc. B 64, 583, eq. 9, with the MAP for the mean. Images of a thousand pixels that a prior holds count for far less
    than a thousand. None where draws cannot tell: none are finite, or p is not between 0 and N.
    """
    found = chi2_per_pixel(posterior, best.position)
    log_likelihood = np.asarray(draws.derived.get("log_likelihood", ()), np.float64)
    count = int((np.asarray(posterior.observation.inverse_variance) > 0).sum())
    at_map = found["all"] * count
    effective = -2 * log_likelihood.mean() - at_map if log_likelihood.size else np.nan
    usable = 0 <= effective < count
    found["effective_parameters"] = float(effective) if usable else None
    found["reduced"] = float(at_map / (count - effective)) if usable else None
    return found


def versions() -> dict[str, str]:
    """Return the versions of Python and the packages that decide the numbers, and the device."""
    found = {"python": platform.python_version(), "device": jax.devices()[0].device_kind}
    for name in _DECISIVE:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:  # ours, run from a checkout that is not installed
            found[name] = "not installed"
    return found


@contextmanager
def noting_warnings() -> Generator[list[str], None, None]:
    """Give a list that grows with every `ScoresampleWarning`; they are shown as before."""
    noted: list[str] = []
    with warnings.catch_warnings():
        warnings.simplefilter("always", ScoresampleWarning)  # for every scene anew
        show = warnings.showwarning

        def note(message, category, *place, **more):
            if issubclass(category, ScoresampleWarning):
                noted.append(str(message))
            show(message, category, *place, **more)

        warnings.showwarning = note
        yield noted


def _background(draws: Draws, bands: Sequence[str]) -> dict[str, dict[str, float]]:
    if "background" not in draws.derived or draws.derived["background"].size == 0:
        return {}
    values = np.asarray(draws.derived["background"], np.float64).reshape(-1, len(bands))
    return {b: {"mean": v.mean(), "sd": v.std()} for b, v in zip(bands, values.T, strict=True)}


def _fluxes(draws: Draws, catalog: Catalog) -> list[dict[str, Any]]:
    """Return one row for each object and band; with the truth where it is known."""
    samples = flux_samples(draws)
    if len(samples) == 0:
        return []
    samples[:, unseen_fluxes(draws.density)] = np.nan
    numbers = {
        "mean": samples.mean(axis=0),
        "sd": samples.std(axis=0, ddof=1 if len(samples) > 1 else 0),
        **dict(zip(LEVELS, np.quantile(samples, list(LEVELS.values()), axis=0), strict=True)),
        "varFromNeighbours": variance_from_neighbours(samples),
    }
    if catalog.true_flux is not None:
        numbers["truth"] = catalog.true_flux
    scene, bands = draws.density.scene, draws.density.observation.frame.bands
    return [
        {"object": name, "objectId": str(object_id), "band": band}
        | {what: float(values[k, b]) for what, values in numbers.items()}
        for k, (name, object_id) in enumerate(zip(scene.objects, catalog.object_id, strict=True))
        for b, band in enumerate(bands)
    ]

"""The flux catalog: one row for each object, whatever happened to it."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from astropy.table import QTable
from jaxtyping import Float

from scoresample.data.frame import Frame
from scoresample.data.values import Numbers
from scoresample.density.posterior import Posterior
from scoresample.diagnostics.convergence import chain_shape, flux_row, unseen_fluxes
from scoresample.diagnostics.verdict import Diagnosis, diagnose
from scoresample.errors import ConfigError, ShapeError
from scoresample.models.scene import Scene
from scoresample.numerics.spread import spread_indices
from scoresample.products.columns import flux_unit, new_catalog
from scoresample.products.objects import first_sources, object_ids, over_the_edge, position_columns
from scoresample.products.photometry import (
    LEVELS,
    blendedness,
    flux_covariance,
    flux_samples,
    half_width,
    mean_centers,
    mean_object_images,
    peak_offset,
    signal_to_noise,
    variance_from_neighbours,
)
from scoresample.products.plain import plain
from scoresample.samplers.base import Draws

ROOM = 1.2
"""How far, in pixels, light may peak from its center for no reason: half the diagonal of a pixel, 0.7, and as far as
detections are off."""

NEGATIVE = -3.0
"""Signal-to-noise, of a flux alone, that noise leaves to none in seven hundred objects without light."""

PRIOR_ONLY = "prior only"
"""Status of an object that no pixel with data knows of, in any band."""


def flux_catalog(draws: Draws, hall: Any = None, *, diagnosis: Diagnosis | None = None) -> QTable:
    """Return the flux catalog of a scene.

    Parameters
    ----------
    draws
        Of a `Posterior`.
    hall
        From `hallucination_score`: its ``confidence``, ``confidence_error`` and ``light_from_data`` hold one number for
        each object, by name or in the order of ``scene.objects``. None leaves the columns NaN, with
        ``flag_noConfidence``.
    diagnosis
        From `diagnose`, where other thresholds than its own are wanted.

    Returns
    -------
    One row for each object. Units are those of the frame, nJy when the calibration is known. NaN appears
    only where a flag says why: fluxes of a band without data have ``flag_noData``. The status is that of the draws, and
    ``prior only`` for an object without data in any band.

    Raises
    ------
    ConfigError
        If the draws are not those of a scene.
    ShapeError
        If ``hall`` does not have one confidence for each object.
    """
    posterior = _posterior(draws)
    frame, scene = posterior.observation.frame, posterior.scene
    confidence, confidence_error, light_from_data = (
        _by_object(hall, field, scene.objects)
        for field in ("confidence", "confidence_error", "light_from_data")
    )
    num_draws = int(np.prod(chain_shape(draws)))
    if num_draws == 0:
        return failed_catalog(
            posterior.observation.name,
            object_ids(scene),
            [source.center for source in first_sources(scene).values()],
            frame.bands,
            frame.flux_unit,
            draws.status,
            wcs_header=frame.wcs_header,
        )
    diagnosis = diagnose(draws) if diagnosis is None else diagnosis
    samples, unseen = flux_samples(draws), unseen_fluxes(posterior)
    samples[:, unseen] = np.nan
    mixing = _mixing(diagnosis, scene, frame)
    centers, images = mean_centers(draws), mean_object_images(draws).objects
    offset = peak_offset(images, centers)
    alone = signal_to_noise(images, np.asarray(posterior.observation.inverse_variance, np.float64))
    columns = position_columns(centers, frame) | {
        "objectId": object_ids(scene),
        "sceneId": np.full(len(scene.objects), posterior.observation.name),
        "flux_Cov": flux_covariance(samples),
        "blendedness": blendedness(images),
        "peakOffset": offset,
        "confidence": confidence,
        "confidenceErr": confidence_error,
        "lightFromData": light_from_data,
        **mixing,
        "nDraws": np.full(len(scene.objects), num_draws),
        "status": np.where(unseen.all(axis=1), PRIOR_ONLY, draws.status),
        "flag_fluxSplit": np.isin(scene.objects, [name for s in diagnosis.splits for name in s.objects]),
        "flag_offCenter": offset > half_width(np.asarray(posterior.observation.psfs)) + ROOM,
        "flag_negative": (alone < NEGATIVE).any(axis=1),
        "flag_noData": unseen.any(axis=1),
        "flag_edge": over_the_edge(scene),
        "flag_noConfidence": ~(np.isfinite(confidence) & np.isfinite(confidence_error)),
    }
    per_band = _flux_columns(samples) | {"varFromNeighbours": variance_from_neighbours(samples)}
    meta = {
        "sceneId": posterior.observation.name,
        "objects": list(scene.objects),
        "status": draws.status,
        "converged": diagnosis.converged,
        "reasons": list(diagnosis.reasons),
        "settings": json.dumps(plain(draws.settings)),
    }
    return new_catalog(columns, per_band, frame.bands, flux_unit(frame.flux_unit), meta)


def failed_catalog(
    scene_id: str,
    object_ids: Sequence[str] | np.ndarray,
    centers: Numbers,
    bands: Sequence[str],
    unit: str,
    status: str,
    *,
    wcs_header: str | None = None,
) -> QTable:
    """Return the rows of a scene without draws: no fluxes, every flag that explains it, and a status.

    Parameters
    ----------
    scene_id, object_ids
        Names.
    centers
        (object, 2), the (y, x) of the input.
    bands, unit, wcs_header
        As in `Frame`.
    status
        What happened.
    """
    num, num_bands = len(object_ids), len(bands)
    frame = Frame((1, 1), tuple(bands), unit, wcs_header)
    nan, true = np.full(num, np.nan), np.ones(num, bool)
    columns = position_columns(np.asarray(centers, np.float64).reshape(num, 2), frame) | {
        "objectId": np.asarray(object_ids, str),
        "sceneId": np.full(num, scene_id),
        "flux_Cov": np.full((num, num_bands, num_bands), np.nan),
        "blendedness": nan,
        "peakOffset": nan,
        "confidence": nan,
        "confidenceErr": nan,
        "lightFromData": nan,
        "rhatMax": nan,
        "essMin": nan,
        "nDraws": np.zeros(num, int),
        "status": np.full(num, status),
        "flag_notConverged": true,
        "flag_fluxSplit": ~true,
        "flag_offCenter": ~true,
        "flag_negative": ~true,
        "flag_noData": ~true,
        "flag_edge": ~true,
        "flag_noConfidence": true,
    }
    names = ("flux", "fluxErr", *(f"flux_{name}" for name in LEVELS), "varFromNeighbours")
    per_band = {name: np.full((num, num_bands), np.nan) for name in names}
    meta = {"sceneId": scene_id, "status": status, "converged": False}
    return new_catalog(columns, per_band, bands, flux_unit(unit), meta)


def flux_draws(draws: Draws, num: int = 100) -> QTable:
    """Return posterior draws of all fluxes, the sibling table of the catalog.

    Parameters
    ----------
    draws
        Of a `Posterior`.
    num
        How many, spread evenly over all chains; all of them where there are fewer.

    Returns
    -------
    One row for each object: ``objectId``, ``sceneId`` and ``{b}_flux_draws`` (num,). Draw k is one joint
    draw for all objects and bands of the scene: sums, colours and ratios of them are draws too. NaN in a band without
    data.

    Raises
    ------
    ConfigError
        If the draws are not those of a scene.
    """
    posterior = _posterior(draws)
    scene, frame = posterior.scene, posterior.observation.frame
    samples = flux_samples(draws)
    samples[:, unseen_fluxes(posterior)] = np.nan
    kept = samples[spread_indices(len(samples), num)] if len(samples) else samples
    columns = {
        "objectId": object_ids(scene),
        "sceneId": np.full(len(scene.objects), posterior.observation.name),
    }
    meta = {
        "sceneId": posterior.observation.name,
        "status": draws.status,
        "nDraws": len(kept),
        "note": "draw k is one joint posterior draw for all objects and bands of the scene",
    }
    per_band = {"flux_draws": np.moveaxis(kept, 0, 2)}
    return new_catalog(columns, per_band, frame.bands, flux_unit(frame.flux_unit), meta)


def _posterior(draws: Draws) -> Posterior:
    if not isinstance(draws.density, Posterior):
        raise ConfigError(
            f"the draws are of a {type(draws.density).__name__}, which has no fluxes; sample a Posterior of a "
            "scene, or read draws.position."
        )
    return draws.density


def _flux_columns(samples: Float[np.ndarray, "draw object band"]) -> dict[str, np.ndarray]:
    """Return mean, standard deviation and quantiles, each (object, band)."""
    quantiles = np.quantile(samples, list(LEVELS.values()), axis=0)
    return {
        "flux": samples.mean(axis=0),
        "fluxErr": samples.std(axis=0, ddof=1 if len(samples) > 1 else 0),
        **{f"flux_{name}": values for name, values in zip(LEVELS, quantiles, strict=True)},
    }


def _mixing(diagnosis: Diagnosis, scene: Scene, frame: Frame) -> dict[str, np.ndarray]:
    """Return the worst mixing of each object's fluxes, and whether it or the run is bad."""
    table, found = diagnosis.table, []
    for name in scene.objects:
        rows = table.reindex([row for b in frame.bands if (row := flux_row(name, b)) in table.index])
        ess = rows[["ess_bulk", "ess_tail"]].to_numpy()
        found.append((rows["r_hat"].max(skipna=False), ess.min(initial=np.inf), rows["ok"].all()))
    r_hat, ess, ok = (np.array(values) for values in zip(*found, strict=True))
    return {
        "rhatMax": r_hat.astype(float),
        "essMin": np.where(np.isinf(ess), np.nan, ess),
        "flag_notConverged": ~ok.astype(bool) | bool(diagnosis.run_reasons),
    }


def _by_object(hall: Any, field: str, names: Sequence[str]) -> Float[np.ndarray, " object"]:
    if hall is None:
        return np.full(len(names), np.nan)
    given = getattr(hall, field)
    if isinstance(given, Mapping):
        return np.array([float(given.get(name, np.nan)) for name in names])
    values = np.asarray(given, np.float64)
    if values.shape != (len(names),):
        raise ShapeError(
            f"hall.{field} has shape {values.shape}, needed one number for each of {len(names)} objects; "
            "compute it with hallucination_score from the same posterior."
        )
    return values

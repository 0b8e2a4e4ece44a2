"""What is compared on scenes of the gallery: our posterior and its MAP, the oracle, and a joint parametric fit."""

import dataclasses
from collections.abc import Callable
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, PRNGKeyArray

from scoresample.data.catalog import Catalog
from scoresample.data.observation import Observation
from scoresample.density.posterior import Posterior
from scoresample.diagnostics.verdict import diagnose
from scoresample.models.initialization import COMPACT_BOX, boxes_from, gaussian_morphology, initialize_scene
from scoresample.models.morphology import PixelMorphology, SersicProfile, to_morphology
from scoresample.models.priors_numpyro import default_shape_priors
from scoresample.models.scene import Scene
from scoresample.models.source import Source, make_source
from scoresample.products.blends_scene import Estimate, Found, Truth, from_draws, from_normal
from scoresample.products.photometry import flux_samples, mean_object_images, object_images
from scoresample.products.pipeline_draws import climb_alone, sample_around
from scoresample.products.pipeline_problem import prepare, prior_of, read_scene
from scoresample.products.pipeline_settings import RunSettings
from scoresample.samplers.endings import Deadline
from scoresample.samplers.optimize import find_map

START_VARIANTS = ("bright", "flat", "blobs")
VARIANTS = (*START_VARIANTS, "ztf-like", "offset", "limited")
TOO_BRIGHT = 20.0
BLOB = 0.2
"""Standard deviation of Gaussian starts over the side of the box; the paper says roughly 20 % of the box."""

OFF = 0.5
"""How far off positions are in the variant ``offset``, pixels."""

LEAST_FLUX = -2.0
"""Where fluxes end in the variant ``limited``, in units of their errors."""

_PARAMETRIC_BOX = 47


def other_start(scene: Scene, variant: str) -> Scene:
    """Return a scene with the starting values of a variant: ``bright``, ``flat`` or ``blobs``; others leave it."""
    if variant == "bright":
        return scene.replace({}, TOO_BRIGHT * scene.flux)
    if variant == "flat":
        return scene.replace({}, jnp.ones_like(scene.flux) * jnp.mean(scene.flux))
    if variant == "blobs":
        return scene.replace({
            f"{source.name}.image": gaussian_morphology(source.shape[0], BLOB * source.shape[0]).image
            for source in scene.sources
            if isinstance(source.morphology, PixelMorphology)
        })  # fmt: skip
    return scene


def plain_scene(observation: Observation, catalog: Catalog, settings: RunSettings) -> Scene:
    """Return the scene that fits without our priors begin with: no cores, and no boxes so small that they are sizes."""
    return initialize_scene(
        observation,
        catalog,
        background=settings.background,
        box_sizes=boxes_from(COMPACT_BOX),
        two_components_above=np.inf,
    )


def lay_out(
    path: Path, truth: Truth, settings: RunSettings, variant: str, uniform: np.random.Generator
) -> Posterior:
    """Return the posterior that ``run`` would sample, or that of a variant.

    ``bright``, ``flat`` and ``blobs`` start elsewhere; ``ztf-like`` has that prior; in ``offset`` positions are half a
    pixel off the truth, in any direction, and all centers are free; in ``limited`` fluxes have an end.
    """
    if variant == "ztf-like":
        settings = dataclasses.replace(settings, prior=variant)
    if variant == "limited":
        settings = dataclasses.replace(settings, least_flux=LEAST_FLUX)
    problem = prepare(path, settings)
    posterior = problem.posterior
    if variant not in (*START_VARIANTS, "offset"):
        return posterior
    scene, more, prior = other_start(posterior.scene, variant), {}, prior_of(settings)
    if variant == "offset":
        towards = uniform.uniform(0, 2 * np.pi, len(truth.centers))
        centers = truth.centers + OFF * np.stack([np.sin(towards), np.cos(towards)], axis=1)
        catalog = dataclasses.replace(problem.catalog, centers=centers)
        scene = initialize_scene(posterior.observation, catalog, prior=prior, background=settings.background)
        more = {"center": default_shape_priors()["center"]}
    return Posterior(scene, posterior.observation, image=prior, least_flux=settings.least_flux, **more)


def run_posterior(
    path: Path, truth: Truth, settings: RunSettings, key: PRNGKeyArray, variant: str = "", draw: bool = True
) -> Found:
    """Find the MAP and sample as ``run`` does; only the MAP where not ``draw``.

    Variants have the same key, so that what differs is due to them.
    """
    deadline = Deadline(settings.max_seconds)
    uniform = np.random.default_rng(np.asarray(jax.random.key_data(key)))
    posterior = lay_out(path, truth, settings, variant, uniform)
    best = climb_alone(posterior, settings, deadline)
    images = object_images(posterior, best.position).objects
    label = f":{variant}" if variant else ""
    estimates = {f"map{label}": Estimate(images.sum(axis=(2, 3)), images)}
    notes = {"map": best.status, "map_steps": len(best.history.log_prob)}
    if not draw:
        return Found("done", estimates, notes)
    draws = sample_around(key, posterior, settings, best.position, deadline)
    if draws.settings["num_kept"] < 2:
        return Found(draws.status, estimates, notes)
    diagnosis = diagnose(draws)
    mixing = diagnosis.table[diagnosis.table["kind"] == "flux"]
    notes |= {
        "converged": diagnosis.converged,
        "r_hat": float(mixing["r_hat"].max()),
        "ess": float(mixing[["ess_bulk", "ess_tail"]].min(axis=None, skipna=False)),
        "draws": int(draws.settings["num_kept"]),
        "divergences": diagnosis.num_divergences,
    }
    mean = mean_object_images(draws).objects
    estimates = {f"posterior{label}": from_draws(flux_samples(draws), mean, truth, uniform)} | estimates
    return Found(draws.status, estimates, notes)


def run_oracle(
    path: Path, truth: Truth, settings: RunSettings, key: PRNGKeyArray, variant: str = ""
) -> Found:
    r"""Fit fluxes to the true profiles, the background free: the least errors that any method can have.

    .. math:: \hat f = (M^T W M)^{-1} M^T W y, \qquad \mathrm{cov} = (M^T W M)^{-1}

    in every band, with columns M of the true images per unit of flux, and of ones.
    """
    observation = read_scene(path, settings)[0]
    data, weights = np.asarray(observation.images, float), np.asarray(observation.inverse_variance, float)
    unit = truth.images / truth.images.sum(axis=(2, 3), keepdims=True)
    flux, sd = np.zeros(truth.flux.shape), np.zeros(truth.flux.shape)
    for band in range(data.shape[0]):
        columns = unit[:, band].reshape(len(unit), -1)
        if settings.background:
            columns = np.concatenate([columns, np.ones((1, columns.shape[1]))])
        weighted = columns * weights[band].ravel()
        covariance = np.linalg.inv(weighted @ columns.T)
        flux[:, band] = (covariance @ (weighted @ data[band].ravel()))[: len(unit)]
        sd[:, band] = np.sqrt(np.diag(covariance)[: len(unit)])
    estimate = from_normal(flux, sd, flux[:, :, None, None] * unit, truth)
    return Found("done", {"oracle": estimate})


def parametric_scene(scene: Scene) -> Scene:
    """Return a scene with Sersic profiles in place of images: exponential and round at first, as wide as these."""
    return Scene(scene.frame, tuple(map(_as_sersic, scene.sources)), scene.background, scene.model_psf)


def run_parametric(
    path: Path, truth: Truth, settings: RunSettings, key: PRNGKeyArray, variant: str = ""
) -> Found:
    """Fit Sersic profiles to all galaxies, and points to all stars, at once: free fluxes, centers, sizes, indices,
    ellipticities and background, at their most probable under `default_shape_priors`."""
    observation, catalog = read_scene(path, settings)
    scene = plain_scene(observation, catalog, settings)
    posterior = Posterior(parametric_scene(scene), observation)
    best = find_map(posterior, max_steps=settings.max_steps, progress=False)
    if best.status == "interrupted":
        raise KeyboardInterrupt
    images = object_images(posterior, best.position).objects
    return Found("done", {"parametric": Estimate(images.sum(axis=(2, 3)), images)}, {"map": best.status})


def _as_sersic(source: Source) -> Source:
    if not isinstance(source.morphology, PixelMorphology):
        return source
    light = np.asarray(to_morphology(source.morphology.image))
    y = np.arange(source.shape[0]) - (source.shape[0] - 1) / 2
    sigma = np.sqrt(np.sum(light.sum(axis=1) * y**2) / light.sum())
    like: Callable[..., Array] = partial(jnp.asarray, dtype=source.flux.dtype)
    profile = SersicProfile(
        like(np.clip(1.177 * sigma, 1.0, _PARAMETRIC_BOX / 8)), like(1.0), like([0.0, 0.0])
    )
    return make_source(
        source.name,
        profile,
        np.asarray(source.center),
        source.flux,
        box=_PARAMETRIC_BOX,
        object_id=source.object_id,
    )

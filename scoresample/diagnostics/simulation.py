"""Scenes drawn from a posterior's own prior, with the noise of its observation: the truth of a calibration."""

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from scoresample.density.posterior import Position, Posterior
from scoresample.errors import ConfigError, DataError, ScoreOnlyError
from scoresample.models.morphology import to_morphology
from scoresample.models.priors import can_be_drawn
from scoresample.models.priors_numpyro import FlatPrior

_LEAST_LIGHT, _NUM_GALAXIES, _MAX_TRIES = 0.25, 64, 1000


class Truth(NamedTuple):
    """What a scene was drawn with: free parameters, amplitudes of all columns, and the images without noise."""

    position: Position
    amplitudes: Float[Array, "band column"]
    images: Float[np.ndarray, "band y x"]


def check_can_be_drawn(posterior: Posterior) -> None:
    """Raise an error, naming the term, unless every prior of a posterior can be drawn from.

    Raises
    ------
    ScoreOnlyError
        For a prior that has only a score.
    ConfigError
        For a prior that is flat, or whose ``sample`` is not implemented.
    """
    what = "calibration draws the truth from the prior, but"
    for parameter in posterior.parameters:
        if not parameter.has_log_prob:
            raise ScoreOnlyError(
                f"{what} {parameter.name!r} has prior {parameter.prior.name!r}, which is known by its score alone and "
                "has no samples; use a prior that has them, such as load_prior('galaxies')."
            )
        if isinstance(parameter.prior, FlatPrior):
            raise ConfigError(f"{what} {parameter.name!r} has a flat one; give it a proper prior.")
        if not can_be_drawn(parameter.prior, parameter.shape):
            raise ConfigError(
                f"{what} {parameter.name!r} has prior {parameter.prior.name!r}, which has no samples; give it one that "
                "has, or implement its method sample."
            )
    prior = posterior.flux_prior
    background_is_flat = posterior.likelihood.background and prior.background is None
    if prior.is_flat or background_is_flat:
        flat = "fluxes have" if prior.is_flat else "the background has"
        raise ConfigError(
            f"{what} {flat} a flat one; give Posterior a proper prior, such as flux=dist.Normal(100.0, 30.0), or "
            "calibrate a scene file, which takes normal ones around its fluxes."
        )


def least_light(posterior: Posterior) -> Float[np.ndarray, " source"]:
    """Return how much light, as a sum of S, an image has to have: a quarter of the median of 64 draws of its prior.

    The prior ``gaussian`` also allows images of little or negative light, of which a flux is a meaningless factor. They
    are left out of truths and of draws alike: calibrated is the posterior under the prior restricted to the rest.
    Minus infinity for sources without a free image.
    """
    found, known = {}, {}
    for parameter in posterior.parameters:
        source, _, kind = parameter.name.rpartition(".")
        if kind == "image":
            at = (id(parameter.prior), parameter.shape)
            if at not in known:
                drawn = parameter.prior.sample(jax.random.key(0), parameter.shape, _NUM_GALAXIES)
                light_of = to_morphology(jax.vmap(parameter.prior.to_seen)(drawn)).sum(axis=(1, 2))
                known[at] = _LEAST_LIGHT * float(jnp.median(light_of))
            found[source] = known[at]
    return np.array([found.get(name, -np.inf) for name in posterior.flux_prior.names])


def draw_truth(key: PRNGKeyArray, posterior: Posterior, least: Float[np.ndarray, " source"]) -> Truth:
    """Draw free parameters and amplitudes from the prior, restricted to images of at least so much light.

    Raises
    ------
    DataError
        If a thousand draws of the images have not enough light.
    """
    key_flux, key_background, key = jax.random.split(key, 3)
    for _ in range(_MAX_TRIES):
        key, *keys = jax.random.split(key, 1 + len(posterior.parameters))
        values = {
            p.name: p.prior.sample(k, p.shape, 1)[0] for p, k in zip(posterior.parameters, keys, strict=True)
        }
        position = {p.name: p.unconstrain(values[p.name]) for p in posterior.parameters}
        if (np.asarray(light(posterior, posterior.values(position))) > least).all():
            break
    else:
        raise DataError(
            f"of {_MAX_TRIES} draws of the prior none had images with light in all sources; use another prior."
        )
    if posterior.collapse:
        amplitudes = _normal_amplitudes(key_flux, key_background, posterior)
    else:
        amplitudes = posterior.flux_prior.gather(values)
    images = _render(posterior.for_compilation(), position, amplitudes)
    return Truth(position, amplitudes, np.asarray(images).reshape(-1, *posterior.likelihood.renderer.shape))


def observe(
    key: PRNGKeyArray, posterior: Posterior, images: Float[np.ndarray, "band y x"]
) -> Float[np.ndarray, "band y x"]:
    """Return images with noise added, as the weights of a posterior's observation say; 0 without data."""
    weight = np.asarray(posterior.observation.inverse_variance)
    sd = np.divide(1, np.sqrt(weight), where=weight > 0, out=np.zeros_like(weight))
    noise = sd * np.asarray(jax.random.normal(key, images.shape))
    return np.where(weight > 0, images + noise, 0)


def with_images(posterior: Posterior, images: Float[np.ndarray, "band y x"]) -> Posterior:
    """Return the posterior of other images; everything else stays as it is."""
    seen = jnp.asarray(images, posterior.observation.images.dtype)
    return eqx.tree_at(
        lambda p: (p.observation.images, p.likelihood.data), posterior, (seen, seen.reshape(len(seen), -1))
    )


@eqx.filter_jit
def quantities(
    posterior: Posterior, position: Position, amplitudes: Float[Array, "band column"]
) -> dict[str, Float[Array, "..."]]:
    """Return what is calibrated of a truth: ``flux`` (object, band), ``background``, and those of `shapes`."""
    flux = posterior.likelihood.object_fluxes(posterior.columns(posterior.values(position)), amplitudes)
    background = {"background": amplitudes[:, -1]} if posterior.likelihood.background else {}
    return {"flux": flux} | background | shapes(posterior, position)


@eqx.filter_jit
def shapes(posterior: Posterior, position: Position) -> dict[str, Float[Array, "..."]]:
    """Return free numbers of a position by name, such as ``star_2.center``, and the light of every source."""
    values = posterior.values(position)
    numbers = {
        p.name: values[p.name]
        for p in posterior.parameters
        if p.name.rpartition(".")[2] not in ("image", "flux", "background")
    }
    return numbers | {"light": light(posterior, values)}


def light(posterior: Posterior, values: dict[str, Array]) -> Float[Array, " source"]:
    """Return the sum of S of every source; 1 for stars and profiles."""
    return posterior.likelihood.renderer.totals(posterior.fixed | values)


def _normal_amplitudes(key_flux, key_background, posterior: Posterior) -> Float[Array, "band column"]:
    """Draw fluxes and background from their normal priors."""
    prior = posterior.flux_prior
    sd = 1 / jnp.sqrt(jnp.einsum("bkk->bk", prior.precision))
    num = len(prior.names)
    unit = [jax.random.normal(key_flux, (num, len(prior.mean)), prior.mean.dtype)]
    if prior.has_background:
        unit.append(jax.random.normal(key_background, (1, len(prior.mean)), prior.mean.dtype))
    return prior.mean + sd * jnp.concatenate(unit).T


@eqx.filter_jit
def _render(posterior: Posterior, position: Position, amplitudes: Float[Array, "band column"]):
    return jnp.einsum("bk,kbp->bp", amplitudes, posterior.columns(posterior.values(position)))

"""How much narrower the data made every pixel and every flux."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from scoresample.density.parameters import Parameter
from scoresample.density.posterior import Posterior
from scoresample.diagnostics.convergence import chain_shape, unseen_fluxes
from scoresample.diagnostics.hallucination import Images
from scoresample.diagnostics.pixelwise import pixel_diagnostics
from scoresample.errors import ConfigError, DataError
from scoresample.models.priors import can_be_drawn
from scoresample.models.priors_numpyro import DistributionPrior
from scoresample.numerics.compiling import quick_jit
from scoresample.samplers.base import Draws


class DataGain(NamedTuple):
    """Standard deviation under the prior alone over that of the posterior: 1 where data say nothing.

    Attributes
    ----------
    pixels
        Of u, by the name of the source; NaN under a prior known by its score alone, which cannot be drawn from.
    relative_error
        Of ``pixels``, one standard error: of both standard deviations, taken as those of normal draws, with the
        effective number of posterior draws of each pixel. NaN where that number is not known.
    flux
        (object, band). Infinite under a flat prior, which allows any flux: all that is known is the data's. NaN in a
        band without data under one.
    prior_sd, posterior_sd
        Of u, by the name of the source.
    """

    pixels: Images
    relative_error: Images
    flux: Float[np.ndarray, "object band"]
    prior_sd: Images
    posterior_sd: Images


def data_gain(key: PRNGKeyArray, draws: Draws, *, num_prior: int = 400) -> DataGain:
    r"""Return the ratio of prior-only to posterior standard deviation of each free pixel and each flux.

    .. math:: g_p = \mathrm{sd}_{prior}(u_p) \,/\, \mathrm{sd}(u_p \mid \mathrm{data})

    in the coordinate u of the images that are seen. Unlike the `hallucination_score`, which holds all other pixels
    fixed, this is of each pixel by itself, with all else uncertain: a pixel behind a mask gains from what data and
    prior together say of its neighbours. It is far from linear where priors are not Gaussian, and can be below 1.

    A flux has a gain only under a proper prior on fluxes. The flat one has no width to begin with, and widths that
    other parts of the model imply, such as the morphology prior at a fixed amplitude, answer other questions: the
    gain is then infinite. Prior-only fluxes are totals; those of the draws are what falls inside the frame.

    Parameters
    ----------
    key
        Of the draws of the prior.
    draws
        Of a `Posterior`.
    num_prior
        Draws of each prior, shared by images of one prior and shape: an error of 3.5 % of their standard deviation with
        400. Learned priors take a second for every few.

    Raises
    ------
    ConfigError
        If the draws are not those of a scene, or fewer than two are asked for.
    DataError
        If there are fewer than two draws.
    """
    posterior = draws.density
    if not isinstance(posterior, Posterior):
        raise ConfigError(f"data gains are of a scene, but these draws are of a {type(posterior).__name__}.")
    if num_prior < 2:
        raise ConfigError(f"num_prior is {num_prior}; a standard deviation needs at least 2.")
    if (num := int(np.prod(chain_shape(draws)))) < 2:
        raise DataError(f"a standard deviation needs at least 2 draws, and there are {num}; draw some first.")
    key_images, key_flux = jax.random.split(key)
    gain = DataGain({}, {}, _flux_gain(key_flux, draws, num_prior), {}, {})
    compiled = posterior.for_compilation()
    for members, key_prior in zip(
        posterior.alike, jax.random.split(key_images, max(len(posterior.alike), 1)), strict=False
    ):
        first = posterior.parameters[members[0]]
        if not first.name.endswith(".image"):
            continue
        prior = _prior_images(key_prior, first, num_prior)
        for index in members:
            name = posterior.parameters[index].name
            seen = _seen_images(compiled, name, draws, np.asarray(draws.position[name]))
            _add(gain, name.removesuffix(".image"), prior, seen)
    return gain


def _add(
    gain: DataGain, name: str, prior: np.ndarray | None, seen: Float[np.ndarray, "chain draw y x"]
) -> None:
    """Add the numbers of one image."""
    shape, num = seen.shape[2:], seen.shape[0] * seen.shape[1]
    ess = pixel_diagnostics(seen.reshape(*seen.shape[:2], -1)).ess_bulk.reshape(shape)
    gain.posterior_sd[name] = seen.std(axis=(0, 1)) * np.sqrt(num / (num - 1))
    gain.prior_sd[name] = np.full(shape, np.nan) if prior is None else prior.std(axis=0, ddof=1)
    moved = gain.posterior_sd[name] > 0
    gain.pixels[name] = np.divide(
        gain.prior_sd[name], gain.posterior_sd[name], where=moved, out=np.full(shape, np.nan)
    )
    gain.relative_error[name] = np.sqrt(0.5 / ess + (np.nan if prior is None else 0.5 / len(prior)))


def _prior_images(key: PRNGKeyArray, parameter: Parameter, num: int) -> Float[np.ndarray, "n y x"] | None:
    """Return images drawn from a prior, as they are seen; None where it cannot be drawn from."""
    if not can_be_drawn(parameter.prior, parameter.shape):
        return None
    drawn = parameter.prior.sample(key, parameter.shape, num)
    return np.asarray(jax.vmap(parameter.prior.to_seen)(drawn), np.float64)


def _seen_images(
    posterior: Posterior, name: str, draws: Draws, images: Float[np.ndarray, "chain draw ..."]
) -> Float[np.ndarray, "chain draw y x"]:
    """Return u of the images that sampled coordinates of one image stand for."""
    rest = jax.tree.map(lambda leaf: jnp.asarray(leaf[0, 0]), draws.position)
    flat = jnp.asarray(images).reshape(-1, *images.shape[2:])
    values = np.asarray(_values(posterior, rest, name, flat), np.float64)
    return values.reshape(*images.shape[:2], *values.shape[1:])


@quick_jit
def _values(posterior: Posterior, rest, name: str, images: Float[Array, "n ..."]) -> Float[Array, "n y x"]:
    return jax.lax.map(lambda image: posterior.values(rest | {name: image})[name], images)


def _flux_gain(key: PRNGKeyArray, draws: Draws, num: int) -> Float[np.ndarray, "object band"]:
    """Return the gain of each flux of an object, the sum of its components."""
    posterior = draws.density
    flux = np.asarray(draws.derived["flux"], np.float64)
    spread = flux.reshape(-1, *flux.shape[2:]).std(axis=0, ddof=1)
    if posterior.flux_prior.is_flat:
        return np.where(unseen_fluxes(posterior), np.nan, np.inf)
    shape = posterior.scene.flux.shape
    drawn = DistributionPrior(posterior.flux_prior.flux, "flux").sample(key, shape, num)
    membership = np.asarray(posterior.scene.membership)
    objects = np.zeros((num, *flux.shape[2:]))
    np.add.at(objects, (slice(None), membership), np.asarray(drawn, np.float64))
    return np.divide(objects.std(axis=0, ddof=1), spread, where=spread > 0, out=np.full(spread.shape, np.nan))

"""A small scene of two galaxies and a star, and draws of it with exact conditional fluxes."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest
from astropy.wcs import WCS

from scoresample.data.observation import make_observation
from scoresample.density.posterior import Posterior
from scoresample.models.initialization import gaussian_morphology
from scoresample.models.morphology import PointSource
from scoresample.models.psf import GaussianPSF
from scoresample.models.scene import Scene
from scoresample.models.source import make_source
from scoresample.samplers.base import Draws

SHAPE = (24, 22)
CENTERS = np.array([[9.0, 8.0], [11.0, 11.0], [20.0, 17.0]])
FLUX = np.array([[300.0, 500.0], [800.0, 200.0], [100.0, 400.0]])
NUM_CHAINS, NUM_DRAWS = 4, 150


def gaussian(shape, center, sigma):
    y, x = np.indices(shape)
    out = np.exp(-((y - center[0]) ** 2 + (x - center[1]) ** 2) / (2 * sigma**2))
    return out / out.sum()


def wcs_header():
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    wcs.wcs.crval = [150.1, 2.2]
    wcs.wcs.crpix = [11.5, 12.5]
    wcs.wcs.cdelt = [-0.2 / 3600, 0.2 / 3600]
    wcs.wcs.radesys = "ICRS"
    return wcs.to_header().tostring(sep="\n")


def make_posterior(seed, *, dark=False, **frame):
    """The scene; the third object, a star, has a free center and a box over the edge, and no data in r if dark."""
    rng = np.random.default_rng(seed)
    shapes = [gaussian(SHAPE, center, 2.2) for center in CENTERS[:2]] + [gaussian(SHAPE, CENTERS[2], 1.5)]
    images = np.einsum("kb,kyx->byx", FLUX, np.stack(shapes)) + 0.5 + rng.normal(size=(2, *SHAPE))
    weights = np.ones((2, *SHAPE))
    if dark:
        weights[1, 13:, 10:] = 0
    psfs = [gaussian((11, 11), (5, 5), 1.5)] * 2
    frame = {"flux_unit": "nJy", "wcs_header": wcs_header(), "name": "blend"} | frame
    observation = make_observation(images, weights, psfs, ["g", "r"], **frame)
    sources = (
        make_source("galaxy_0", gaussian_morphology(11, 1.6), CENTERS[0], FLUX[0], object_id="17"),
        make_source("galaxy_1", gaussian_morphology(11, 1.6), CENTERS[1], FLUX[1], object_id="18"),
        make_source("galaxy_1_core", gaussian_morphology(5, 0.8), CENTERS[1], FLUX[1], parent="galaxy_1"),
        make_source("star_2", PointSource(), CENTERS[2], FLUX[2], box=11, object_id="19"),
    )
    scene = Scene(observation.frame, sources, jnp.zeros(2), GaussianPSF(0.7))
    return Posterior(
        scene, observation, image=dist.Normal(0, 5), priors={"star_2.center": dist.Normal(0, 0.3)}
    )


def make_draws(posterior, key, num_chains=NUM_CHAINS, num_draws=NUM_DRAWS):
    """Draws of a scene: positions spread around the first one, fluxes exact given the positions."""
    start, (num, shape) = posterior.initial_position(), (num_chains * num_draws, (num_chains, num_draws))
    density = posterior.for_compilation()

    @eqx.filter_jit
    def draw(density, keys):
        def one(key):
            key_position, key_flux = jax.random.split(key)
            names = sorted(start)
            keys = dict(zip(names, jax.random.split(key_position, len(names)), strict=True))
            position = {
                n: start[n] + 0.02 * jax.random.normal(keys[n], start[n].shape, start[n].dtype) for n in names
            }
            return position, density.derive(key_flux, position)

        return jax.lax.map(one, keys)

    found = draw(density, jax.random.split(key, num))
    position, derived = jax.tree.map(lambda x: np.asarray(x).reshape(*shape, *x.shape[1:]), found)
    rng = np.random.default_rng(int(jax.random.randint(key, (), 0, 2**30)))
    stats = {
        "log_prob": rng.normal(size=shape),
        "energy": rng.normal(size=shape),
        "diverging": np.zeros(shape, bool),
    }
    settings = {
        "sampler": {"name": "NUTS", "step": np.float32(0.5)},
        "num_chains": num_chains,
        "lost": np.nan,
    }
    return Draws(position, derived, stats, "done", settings, posterior)


@pytest.fixture(scope="session")
def shared_draws(seed_shift):
    posterior = make_posterior(1 + seed_shift)
    return make_draws(posterior, jax.random.key(3 + seed_shift))


@pytest.fixture
def draws(shared_draws):
    """Draws whose arrays a test may change."""
    arrays = (shared_draws.position, shared_draws.derived, shared_draws.stats)
    position, derived, stats = jax.tree.map(np.copy, arrays)
    return shared_draws._replace(position=position, derived=derived, stats=stats)


@pytest.fixture
def dark_draws(draws, cut, seed_shift):
    """Few draws of the scene in which the star has no data in r."""
    return cut(draws, 50)._replace(density=make_posterior(1 + seed_shift, dark=True))


@pytest.fixture
def uncalibrated_draws(draws, cut, seed_shift):
    """Few draws of the scene without flux unit and WCS."""
    return cut(draws, 30)._replace(density=make_posterior(1 + seed_shift, flux_unit="", wcs_header=None))


@pytest.fixture
def cut():
    """Keep the first draws of each chain."""

    def first(draws, num_draws):
        arrays = (draws.position, draws.derived, draws.stats)
        position, derived, stats = jax.tree.map(lambda leaf: leaf[:, :num_draws], arrays)
        return draws._replace(position=position, derived=derived, stats=stats)

    return first

"""Modes of data and prior against dense algebra, and what masks and neighbours do to them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.linalg

from scoresample.data.observation import make_observation
from scoresample.density import local_scale
from scoresample.density.parameters import Parameter
from scoresample.density.posterior import Posterior
from scoresample.diagnostics.information import make_information, prior_root
from scoresample.diagnostics.modes import data_modes
from scoresample.errors import ConfigError
from scoresample.models.gaussian_prior import load_gaussian_prior
from scoresample.models.initialization import gaussian_morphology
from scoresample.models.morphology import PointSource, to_morphology
from scoresample.models.profile_prior import load_profile_prior
from scoresample.models.profile_shape import AMPLITUDE_AT, NUM_SHAPE
from scoresample.models.psf import GaussianPSF
from scoresample.models.scene import Scene
from scoresample.models.source import make_source

SHAPE = (16, 18)


def gaussian(shape, center, sigma):
    y, x = np.indices(shape)
    out = np.exp(-((y - center[0]) ** 2 + (x - center[1]) ** 2) / (2 * sigma**2))
    return out / out.sum()


def make_posterior(centers, flux, masked=None, even=False, **priors):
    """Return a posterior of galaxies of 9 x 9 pixels and a star in two bands, without any noise in its data."""
    centers, flux = np.asarray(centers, float), np.asarray(flux, float)
    images = np.einsum("kb,kyx->byx", flux, np.stack([gaussian(SHAPE, c, 2) for c in centers]))
    weights = np.ones((2, *SHAPE)) if even else np.random.default_rng(3).uniform(0.5, 2, (2, *SHAPE))
    if masked is not None:
        weights[:, masked] = 0
    psfs = [gaussian((7, 7), (3, 3), 1.1), gaussian((7, 7), (3, 3), 1.5)]
    observation = make_observation(images, weights, psfs, ["g", "r"], flux_unit="nJy")
    sources = [
        make_source(f"galaxy_{k}", gaussian_morphology(9, 1.6), c, f)
        for k, (c, f) in enumerate(zip(centers, flux, strict=True))
    ]
    star = make_source("star", PointSource(), np.array([13.2, 3.4]), np.array([50.0, 80.0]), box=9)
    scene = Scene(observation.frame, (*sources, star), jnp.zeros(2), GaussianPSF(0.7))
    return Posterior(scene, observation, center=None, **(priors or {"image": load_gaussian_prior()}))


@pytest.fixture(scope="module")
def posterior():
    return make_posterior([[7.3, 6.2], [8.0, 11.4]], [[3000.0, 5000.0], [400.0, 900.0]])


@pytest.fixture(scope="module")
def position(posterior, seed_shift):
    rng = np.random.default_rng(1 + seed_shift)
    return {
        name: value + 0.3 * rng.normal(size=value.shape)
        for name, value in posterior.initial_position().items()
    }


@pytest.fixture(scope="module")
def found(posterior, position):
    return data_modes(jax.random.key(0), posterior, position)


def precision_without_fluxes(posterior, position, rows):
    """Return precision of the data on what changes the model by rows (band, pixel, n), fluxes projected out."""
    likelihood = posterior.likelihood
    design = np.moveaxis(np.asarray(likelihood.columns(posterior.values(position)), float), 0, 2)
    precision = np.zeros((rows.shape[2], rows.shape[2]))
    for band, weight in enumerate(np.asarray(likelihood.root_weight, float)):
        seen, taken = weight[:, None] * rows[band], np.linalg.qr(weight[:, None] * design[band])[0]
        seen -= taken @ (taken.T @ seen)
        precision += seen.T @ seen
    return precision


def dense(posterior, position):
    """Return precision of the data, all else but the images projected out, and covariance of the prior."""
    names = [f"galaxy_{k}.image" for k in range(2)]
    likelihood, fluxes = posterior.likelihood, np.asarray(posterior.brightness(position))
    root_weight = np.asarray(likelihood.root_weight, float)

    def model(images):
        columns = likelihood.columns(posterior.values(position | images), False)
        return jnp.einsum("bk,kbp->bp", fluxes, columns[: fluxes.shape[1]])

    jacobian = jax.jit(jax.jacfwd(model))({name: position[name] for name in names})
    rows = np.concatenate(
        [np.asarray(jacobian[n], float).reshape(*root_weight.shape, -1) for n in names], axis=2
    )
    precision = precision_without_fluxes(posterior, position, rows)
    prior = load_gaussian_prior().for_shape((9, 9)).covariance()
    return precision, scipy.linalg.block_diag(prior, prior)


def test_modes_are_those_of_the_dense_pencil_with_all_else_free(posterior, position, found):
    precision, covariance = dense(posterior, position)
    everything = np.linalg.inv(precision + np.linalg.inv(covariance))
    for own, name in ((slice(0, 81), "galaxy_0"), (slice(81, None), "galaxy_1")):
        prior = np.linalg.inv(covariance[own, own])
        information = np.linalg.inv(everything[own, own]) - prior
        values, vectors = scipy.linalg.eigh(information, prior)
        np.testing.assert_allclose(found[name].strength, values[:-6:-1], rtol=3e-3)
        assert found[name].residual < 1e-2
        slope = 0.1 * (np.asarray(to_morphology(position[f"{name}.image"])).ravel() + 1)
        patterns = slope * vectors[:, :-6:-1].T
        ours = found[name].patterns.reshape(5, -1)
        overlap = np.abs(np.sum(patterns * ours, axis=1))
        np.testing.assert_allclose(overlap[:2], np.sum(ours**2, axis=1)[:2], rtol=0.02)
        decided = np.sum(values / (1 + values))
        off = abs(found[name].num_decided - decided)
        assert off < 5 * found[name].num_decided_error + 0.02 * decided
        shape = np.asarray(to_morphology(position[f"{name}.image"]), float).ravel()
        seen = (np.eye(81) - np.outer(shape, shape) / (shape @ shape)) * slope  # S itself left out
        spread, components = np.linalg.eigh(seen @ everything[own, own] @ seen.T)
        np.testing.assert_allclose(
            np.linalg.norm(found[name].open_patterns, axis=(1, 2)), np.sqrt(spread[:-6:-1]), rtol=2e-3
        )
        before = np.diag(components.T @ seen @ covariance[own, own] @ seen.T @ components)
        np.testing.assert_allclose(found[name].open_share, (1 - spread / before)[:-6:-1], atol=0.02)


def test_that_test_tells_free_neighbours_from_fixed_ones(posterior, position, found):
    precision, covariance = dense(posterior, position)
    own = slice(81, None)
    fixed = scipy.linalg.eigh(precision[own, own], np.linalg.inv(covariance[own, own]), eigvals_only=True)
    assert np.all(found["galaxy_1"].strength < 0.98 * fixed[:-6:-1])


def test_under_the_profile_prior_modes_are_of_profile_and_scatter_together():
    """Against dense algebra in all coordinates; patterns are images."""
    posterior = make_posterior([[8.0, 8.0]], [[2000.0, 2000.0]], image=load_profile_prior())
    position = posterior.initial_position()
    name = "galaxy_0.image"
    position[name] = position[name].at[:NUM_SHAPE].set(0.3)
    found = data_modes(jax.random.key(0), posterior, position)["galaxy_0"]
    likelihood, flux = posterior.likelihood, np.asarray(posterior.brightness(position))

    def model(q):
        columns = likelihood.columns(posterior.values(position | {name: q}), False)
        return jnp.einsum("bk,kbp->bp", flux, columns[: flux.shape[1]])

    rows = np.asarray(jax.jit(jax.jacfwd(model))(position[name]), float)
    precision = precision_without_fluxes(posterior, position, rows)
    values = np.linalg.eigvalsh(precision)  # a priori coordinates are standard normal
    np.testing.assert_allclose(found.strength, values[:-6:-1], rtol=3e-3)
    assert found.patterns.shape == found.open_patterns.shape == (5, 9, 9)


@pytest.mark.parametrize(("even", "most"), [(True, 0.05), (False, 0.6)])
@pytest.mark.parametrize("max_dense", [1000, 0])
def test_the_local_scale_counts_what_profile_and_scatter_do_together(monkeypatch, max_dense, even, most):
    """Its covariance undoes the exact information; nearly where weights of the data vary, which it smooths."""
    monkeypatch.setattr(local_scale, "MAX_DENSE", max_dense)
    monkeypatch.setattr(local_scale, "NUM_DIRECTIONS", 60)
    posterior = make_posterior([[8.0, 8.0]], [[2000.0, 2000.0]], even=even, image=load_profile_prior())
    position = posterior.initial_position()
    name = "galaxy_0.image"
    # The amplitude is its median: smoothing errs the more, the more of the light is scatter.
    position[name] = position[name].at[:NUM_SHAPE].set(0.3).at[AMPLITUDE_AT].set(0.0)
    positions = {name: value[None] for name, value in position.items()}
    information = make_information(jax.random.key(0), posterior, positions, (name,), 10)
    v = jax.random.normal(jax.random.key(1), position[name].shape)
    known = v + information.likelihood(v)

    def undone(scale):
        change = jax.linear_transpose(information.whiten, known)(known)[0]
        return information.whiten(information.spread((scale,), change))

    (near,) = [scale for names, scale in posterior.local_scale(position) if name in names]
    off = lambda scale: jnp.linalg.norm(undone(scale) - v) / jnp.linalg.norm(v)
    assert off(near) < most
    assert off(posterior.parameters[0].scale()) > 100  # negative control: of the prior alone


def test_the_root_of_a_prior_known_by_its_score_alone_is_that_of_its_density(score_only):
    image_prior = load_gaussian_prior().for_shape((9, 9))
    parameter = Parameter("hidden.image", score_only(image_prior), (9, 9))
    root = prior_root(jax.random.key(0), parameter, image_prior.mean[None], 81)
    matrix = np.asarray(jax.vmap(root.apply)(jnp.eye(81)), float).T
    exact = image_prior.covariance()
    np.testing.assert_allclose(matrix @ matrix.T, exact, atol=5e-3 * exact.max())
    few = prior_root(jax.random.key(0), parameter, image_prior.mean[None], 10)
    matrix = np.asarray(jax.vmap(few.apply)(jnp.eye(81)), float).T
    assert np.abs(matrix @ matrix.T - exact).max() > 0.05 * exact.max()  # negative control


def test_bright_galaxies_have_more_modes_and_neighbours_take_them_away():
    decided = {}
    for flux in (200.0, 2000.0):
        alone = make_posterior([[8.0, 8.0]], [[flux, flux]])
        (modes,) = data_modes(jax.random.key(0), alone, alone.initial_position()).values()
        decided[flux] = modes.num_decided
    assert decided[2000.0] > 1.5 * decided[200.0] > 0
    blended = []
    for distance in (6.0, 3.0, 1.5):
        pair = make_posterior([[8.0, 8.0], [8.0, 8.0 + distance]], [[2000.0, 2000.0], [2000.0, 2000.0]])
        modes = data_modes(jax.random.key(0), pair, pair.initial_position(), names=["galaxy_0"])
        blended.append(modes["galaxy_0"].num_decided)
    assert decided[2000.0] > blended[0] > blended[1] > blended[2]


def test_what_is_left_open_lies_behind_the_mask():
    right = np.zeros(SHAPE, bool)
    right[:, 9:] = True  # from the sixth column of the box on
    power = []
    for masked in (right, None):
        scene = make_posterior([[8.0, 8.0]], [[3000.0, 5000.0]], masked=masked)
        (modes,) = data_modes(jax.random.key(0), scene, scene.initial_position()).values()
        power.append(np.sum(modes.open_patterns**2, axis=1))
        if masked is not None:
            assert power[0][0, 5:].sum() > 0.85 * power[0][0].sum()
    assert power[0][:, 5:].sum() > 3 * power[1][:, 5:].sum()
    assert power[0][:, :4].sum() < 3 * power[1][:, :4].sum()  # and not so on the side that is seen


def test_bad_input(posterior, position):
    with pytest.raises(ConfigError, match="num_steps 2"):
        data_modes(jax.random.key(0), posterior, position, num_steps=2)
    with pytest.raises(ConfigError, match=r"'star.image' is no free image; there are galaxy_0.image"):
        data_modes(jax.random.key(0), posterior, position, names=["star"])

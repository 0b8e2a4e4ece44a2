"""Hallucination scores against dense Hessians, and what they say of bright and faint galaxies."""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest
import scipy.stats

from scoresample.data.observation import make_observation
from scoresample.density.posterior import Posterior
from scoresample.diagnostics import probing
from scoresample.diagnostics.fisher import likelihood_diagonals, prior_diagonal
from scoresample.diagnostics.hallucination import hallucination_score
from scoresample.errors import ConfigError, DataError, PositionError, ScoresampleWarning
from scoresample.models.gaussian_image import GaussianImagePrior
from scoresample.models.gaussian_prior import load_gaussian_prior
from scoresample.models.initialization import gaussian_morphology
from scoresample.models.log_gaussian_prior import from_logarithm, load_log_gaussian_prior
from scoresample.models.morphology import PointSource, to_morphology
from scoresample.models.profile_prior import load_profile_prior
from scoresample.models.profile_shape import NUM_SHAPE, amplitude_of
from scoresample.models.psf import GaussianPSF
from scoresample.models.scene import Scene
from scoresample.models.score_prior import ScorePrior
from scoresample.models.source import make_source
from scoresample.samplers.base import Draws
from scoresample.samplers.optimize import MAPHistory, MAPResult

SHAPE = (16, 15)
CENTERS = np.array([[7.3, 6.2], [8.0, 10.0], [12.4, 3.1]])  # the second box reaches over the edge
FLUX = np.array([[3000.0, 5000.0], [40.0, 30.0], [100.0, 400.0]])


def gaussian(shape, center, sigma):
    y, x = np.indices(shape)
    out = np.exp(-((y - center[0]) ** 2 + (x - center[1]) ** 2) / (2 * sigma**2))
    return out / out.sum()


@pytest.fixture(scope="module")
def scene_and_observation(seed_shift):
    return make_scene(seed_shift)


def make_scene(seed_shift):
    rng = np.random.default_rng(seed_shift)
    images = np.einsum("kb,kyx->byx", FLUX, np.stack([gaussian(SHAPE, c, 2) for c in CENTERS]))
    weights = rng.uniform(0, 2, (2, *SHAPE))
    weights[:, 6, 4] = 0
    psfs = [gaussian((7, 7), (3, 3), 1.1), gaussian((7, 7), (3, 3), 1.5)]
    observation = make_observation(
        images + rng.normal(size=images.shape), weights, psfs, ["g", "r"], flux_unit="nJy"
    )
    sources = (
        make_source("galaxy_0", gaussian_morphology(9, 1.6), CENTERS[0], FLUX[0]),
        make_source("galaxy_1", gaussian_morphology(11, 1.6), CENTERS[1], 0.7 * FLUX[1]),
        make_source(
            "galaxy_1_core", gaussian_morphology(5, 0.8), CENTERS[1], 0.3 * FLUX[1], parent="galaxy_1"
        ),
        make_source("star_2", PointSource(), CENTERS[2], FLUX[2], box=9),
    )
    return Scene(observation.frame, sources, jnp.zeros(2), GaussianPSF(0.7)), observation


@pytest.fixture(scope="module")
def posterior(scene_and_observation):
    return Posterior(*scene_and_observation, center=None, image=load_gaussian_prior())


@pytest.fixture(scope="module")
def position(posterior, seed_shift):
    return random_position(posterior, seed_shift)


def random_position(posterior, seed_shift):
    rng = np.random.default_rng(1 + seed_shift)
    first = posterior.initial_position()
    return {name: value + 0.3 * rng.normal(size=value.shape) for name, value in first.items()}


@pytest.fixture(scope="module")
def hall(posterior, position):
    return hallucination_score(jax.random.key(0), posterior, position)


@pytest.mark.parametrize(("index", "name"), [(0, "galaxy_0"), (1, "galaxy_1"), (2, "galaxy_1_core")])
def test_likelihood_is_the_diagonal_of_the_dense_gauss_newton_hessian(posterior, position, hall, index, name):
    likelihood = posterior.likelihood
    values = posterior.values(position)
    u = values[f"{name}.image"]
    scale = posterior.amplitudes(position)[:, index] / jnp.sum(to_morphology(u))

    @jax.jit
    def whitened_model(u):
        """The source at a fixed scale: its column per unit flux, times the sum of S and the scale."""
        column = likelihood.columns(values | {f"{name}.image": u})[index] * jnp.sum(to_morphology(u))
        return scale[:, None] * column * likelihood.root_weight

    jacobian = np.asarray(jax.jacfwd(whitened_model)(u), float)
    dense = np.sum(jacobian**2, axis=(0, 1))
    np.testing.assert_allclose(hall.likelihood[name], dense, rtol=1e-3, atol=1e-4 * dense.max())


@pytest.mark.parametrize("prior", [load_log_gaussian_prior(), load_profile_prior()], ids=lambda p: p.name)
def test_both_diagonals_are_in_the_coordinate_that_samplers_move_in(scene_and_observation, prior):
    """Of its pixels alone: under the prior of profiles of the scatter, given profile and amplitude."""
    posterior = Posterior(*scene_and_observation, center=None, image=prior)
    parameter = next(p for p in posterior.parameters if p.name == "galaxy_0.image")
    position, ready = posterior.initial_position(), parameter.prior
    if parameter.coordinate_shape != parameter.shape:
        position = {name: value.at[:NUM_SHAPE].set(0.3) for name, value in position.items()}
    hall = hallucination_score(jax.random.key(0), posterior, position)
    likelihood, values = posterior.likelihood, posterior.values(position)
    scale, here = posterior.brightness(position)[:, 0], position[parameter.name]

    def image_of(pixels):
        if parameter.coordinate_shape == parameter.shape:
            return parameter.constrain(pixels)
        z = here[:NUM_SHAPE]
        return from_logarithm(ready.logarithm(z) + amplitude_of(z) * pixels, ready.softening)[0]

    @jax.jit
    def whitened_model(pixels):
        columns = likelihood.columns(values | {parameter.name: image_of(pixels)}, unit_flux=False)
        return scale[:, None] * columns[0] * likelihood.root_weight

    np.testing.assert_allclose(image_of(ready.of_pixels(here)), parameter.constrain(here), atol=1e-4)
    dense = np.sum(np.asarray(jax.jacfwd(whitened_model)(ready.of_pixels(here)), float) ** 2, axis=(0, 1))
    np.testing.assert_allclose(hall.likelihood["galaxy_0"], dense, rtol=1e-3, atol=1e-4 * dense.max())
    exact = np.diag(np.linalg.inv(parameter.prior.of_coordinate().covariance())).reshape(dense.shape)
    np.testing.assert_allclose(hall.prior["galaxy_0"], exact, rtol=1e-3)
    assert hall.num_probes["galaxy_0"] == 0


def test_likelihood_is_the_diagonal_of_the_dense_hessian_of_noise_free_data_to_1e_5(seed_shift):
    """In double precision; without residuals the Gauss-Newton Hessian is the whole one."""
    with jax.enable_x64(True):
        posterior = Posterior(*make_scene(seed_shift), center=None, image=load_gaussian_prior())
        position = random_position(posterior, seed_shift)
        hall = hallucination_score(jax.random.key(0), posterior, position)
        model = jnp.sum(posterior.source_images(position), axis=0).reshape(posterior.likelihood.data.shape)
        brightness = posterior.brightness(position)
        amplitudes = posterior.amplitudes(position)
        values = posterior.values(position)
        u = values["galaxy_1.image"]  # its box reaches over the edge

        def log_prob(u):
            columns = posterior.likelihood.columns(values | {"galaxy_1.image": u})
            scaled = amplitudes.at[:, 1].set(brightness[:, 1] * jnp.sum(to_morphology(u)))
            residual = model - jnp.einsum("bk,kbp->bp", scaled, columns)
            return -0.5 * jnp.sum((residual * posterior.likelihood.root_weight) ** 2)

        hessian = np.asarray(jax.jit(jax.hessian(log_prob))(u)).reshape(u.size, u.size)
        dense = -np.diag(hessian).reshape(u.shape)
        np.testing.assert_allclose(hall.likelihood["galaxy_1"], dense, rtol=1e-5, atol=1e-9 * dense.max())


def test_prior_is_the_diagonal_of_the_dense_hessian(posterior, position, hall):
    prior = next(p.prior for p in posterior.parameters if p.name == "galaxy_1_core.image")
    hessian = jax.jacfwd(jax.grad(prior.log_prob))(position["galaxy_1_core.image"])
    dense = -np.diag(np.asarray(hessian).reshape(25, 25)).reshape(5, 5)
    np.testing.assert_allclose(hall.prior["galaxy_1_core"], dense, rtol=1e-3)
    assert not any(hall.num_probes.values())


def test_confidence_sums_the_difference_times_the_morphology(position, hall):
    gamma = {
        name: -np.sum(hall.difference[name] * np.asarray(to_morphology(position[f"{name}.image"])))
        for name in hall.difference
    }
    assert set(hall.confidence) == {"galaxy_0", "galaxy_1", "star_2"}
    np.testing.assert_allclose(hall.confidence["galaxy_0"], gamma["galaxy_0"], rtol=1e-4)
    np.testing.assert_allclose(
        hall.confidence["galaxy_1"], gamma["galaxy_1"] + gamma["galaxy_1_core"], rtol=1e-4
    )
    for name in hall.difference:
        np.testing.assert_allclose(hall.difference[name], hall.prior[name] - hall.likelihood[name], rtol=1e-6)


def test_bright_galaxies_have_more_confidence_and_stars_none(hall):
    assert hall.confidence["galaxy_0"] > hall.confidence["galaxy_1"]
    assert hall.difference["galaxy_0"][4, 4] < 0 < hall.difference["galaxy_1"][5, 5]
    assert np.isnan(hall.confidence["star_2"])


def test_a_fixed_image_has_no_confidence(scene_and_observation):
    posterior = Posterior(*scene_and_observation, image=None)
    hall = hallucination_score(jax.random.key(0), posterior, posterior.initial_position())
    assert hall.difference == {}
    assert all(np.isnan(value) for value in hall.confidence.values())


def test_the_map_counts_as_its_position(posterior, position, hall):
    nothing = np.zeros(0)
    best = MAPResult(position, "converged", MAPHistory(nothing, nothing, nothing))
    assert (
        hallucination_score(jax.random.key(0), posterior, best).confidence["galaxy_0"]
        == hall.confidence["galaxy_0"]
    )


def test_draws_are_averaged(posterior, position):
    rng = np.random.default_rng(5)
    spread = {n: v + 0.2 * rng.normal(size=(2, 3, *v.shape)) for n, v in position.items()}
    spread = jax.tree.map(lambda v: v.astype(np.float32), spread)
    draws = Draws(spread, {"flux": np.zeros((2, 3, 3, 2))}, {}, "done", {}, posterior)
    found = hallucination_score(jax.random.key(0), posterior, draws, num_draws=100)
    singles = [
        hallucination_score(jax.random.key(0), posterior, {n: v[c, d] for n, v in spread.items()})
        for c in range(2)
        for d in range(3)
    ]
    each = np.array([one.confidence["galaxy_1"] for one in singles])
    np.testing.assert_allclose(found.confidence["galaxy_1"], each.mean(), rtol=1e-4)
    np.testing.assert_allclose(found.confidence_error["galaxy_1"], each.std(ddof=1) / np.sqrt(6), rtol=1e-3)
    scatter = np.std([one.difference["galaxy_0"] for one in singles], axis=0, ddof=1) / np.sqrt(6)
    np.testing.assert_allclose(found.standard_error["galaxy_0"], scatter, rtol=1e-3, atol=1e-6)


def probe_z(prior, exact, seed):
    """Z-value per pixel of a probed diagonal, with few probes and a wide goal."""
    mean = prior.image_prior.mean
    u = jnp.broadcast_to(mean, (3, *mean.shape))
    diagonals, error, count, enough = prior_diagonal(jax.random.key(seed), prior, u, 0.3, 400)
    assert enough
    assert 0 < count < 400 + 3 * probing.BATCH
    return (diagonals.mean(axis=0) - exact) / np.maximum(error, 1e-9)


def test_probes_of_a_score_find_the_diagonal(seed_shift, score_only):
    image_prior = load_gaussian_prior().for_shape((9, 9))
    exact = np.asarray(image_prior.precision_diagonal())
    z = probe_z(score_only(image_prior), exact, 3 + seed_shift)
    assert np.sqrt(np.mean(z**2)) < 1.5
    assert np.abs(z).max() < 6


def test_that_test_sees_a_half_too_large_a_diagonal(seed_shift, score_only):
    image_prior = load_gaussian_prior().for_shape((9, 9))
    z = probe_z(score_only(image_prior), 1.5 * np.asarray(image_prior.precision_diagonal()), 3 + seed_shift)
    assert np.sqrt(np.mean(z**2)) > 2


def test_unit_vectors_are_taken_where_they_cost_less(score_only):
    image_prior = load_gaussian_prior().for_shape((7, 7))
    found, error, count, enough = prior_diagonal(
        jax.random.key(0), score_only(image_prior), image_prior.mean[None], 1e-3, 1000
    )
    np.testing.assert_allclose(found[0], image_prior.precision_diagonal(), rtol=1e-3)
    assert (count, enough) == (0, True)
    assert np.all(error == 0)


def test_score_only_priors_are_graded_too(scene_and_observation, position, hall, score_only):
    prior = score_only(load_gaussian_prior().for_shape((9, 9)))
    posterior = Posterior(*scene_and_observation, image=None, center=None, priors={"galaxy_0.image": prior})
    mine = {"galaxy_0.image": position["galaxy_0.image"]}
    found = hallucination_score(jax.random.key(1), posterior, mine, relative_error=1e-3)
    np.testing.assert_allclose(found.prior["galaxy_0"], hall.prior["galaxy_0"], rtol=1e-3)
    with pytest.warns(ScoresampleWarning, match="16 probes leave"):
        rough = hallucination_score(jax.random.key(1), posterior, mine, relative_error=1e-3, max_probes=10)
    assert rough.confidence_error["galaxy_0"] > 0
    assert np.all(rough.standard_error["galaxy_0"] > 0)


class Blurred(GaussianImagePrior):
    """A prior of whose images scenes show a blur, as of one that hides its noise."""

    @property
    def hides_noise(self):
        return True

    def to_seen(self, value):
        return 0.5 * value + 0.3 * jnp.roll(value, 1, axis=0) + 0.2 * jnp.roll(value, 1, axis=1)


def test_likelihood_is_over_what_is_sampled_where_a_prior_hides_its_noise(scene_and_observation, position):
    """Scenes show D(u); the prior's curvature is over u, and so has the data's to be."""
    gaussian_prior = load_gaussian_prior().for_shape((9, 9))
    prior = Blurred(gaussian_prior.mean, gaussian_prior.root, gaussian_prior.noise_level)
    posterior = Posterior(*scene_and_observation, center=None, image=None, priors={"galaxy_0.image": prior})
    mine = {"galaxy_0.image": position["galaxy_0.image"]}
    scale = posterior.brightness(mine)[:, 0]

    def whitened_model(u):
        columns = posterior.likelihood.columns(posterior.values({"galaxy_0.image": u}), unit_flux=False)
        return scale[:, None] * columns[0] * posterior.likelihood.root_weight

    jacobian = np.asarray(jax.jit(jax.jacfwd(whitened_model))(mine["galaxy_0.image"]), float)
    dense = np.sum(jacobian**2, axis=(0, 1))
    exact = hallucination_score(jax.random.key(0), posterior, mine, relative_error=1e-3)
    np.testing.assert_allclose(exact.likelihood["galaxy_0"], dense, rtol=1e-3, atol=1e-4 * dense.max())
    assert exact.num_probes["galaxy_0"] == 0  # unit vectors
    probed = hallucination_score(jax.random.key(0), posterior, mine, relative_error=0.5)
    z = (probed.likelihood["galaxy_0"] - dense) / np.maximum(probed.standard_error["galaxy_0"], 1e-9)
    assert probed.num_probes["galaxy_0"] > 0
    assert np.sqrt(np.mean(z**2)) < 2
    shown = likelihood_diagonals(posterior.for_compilation(), {k: v[None] for k, v in mine.items()})
    assert np.sum(shown["galaxy_0"][0]) > 1.1 * np.sum(dense)  # over D(u) it is another matrix


@pytest.mark.parametrize("kind", ["score", "laplace"])
def test_a_prior_without_curvature_leaves_all_to_the_data(scene_and_observation, kind):
    prior = (
        ScorePrior(jnp.zeros_like, (9, 9))
        if kind == "score"
        else dist.Laplace(0.0, 3.0).expand([9, 9]).to_event(2)
    )
    posterior = Posterior(*scene_and_observation, image=None, center=None, priors={"galaxy_0.image": prior})
    found = hallucination_score(jax.random.key(0), posterior, posterior.initial_position())
    np.testing.assert_array_equal(found.prior["galaxy_0"], 0)
    np.testing.assert_allclose(found.difference["galaxy_0"], -found.likelihood["galaxy_0"])
    assert found.confidence["galaxy_0"] > 0
    assert found.light_from_data["galaxy_0"] == pytest.approx(1)


def test_distributions_over_images_are_graded_in_the_coordinate_u(scene_and_observation, position):
    prior = dist.LogNormal(0.5, 0.4)
    posterior = Posterior(*scene_and_observation, image=None, center=None, priors={"galaxy_0.image": prior})
    sampled = {"galaxy_0.image": 0.3 * position["galaxy_0.image"]}  # log u
    found = hallucination_score(jax.random.key(1), posterior, sampled, relative_error=1e-4)
    u = np.exp(np.asarray(sampled["galaxy_0.image"], float))
    # Of -log u - (log u - 0.5)^2 / (2 0.4^2); that of log u would be 1 / 0.4^2 everywhere.
    exact = -(1 + (np.log(u) - 0.5 - 1) / 0.4**2) / u**2
    np.testing.assert_allclose(found.prior["galaxy_0"], exact, rtol=1e-3)
    gamma = -np.sum(found.difference["galaxy_0"] * np.expm1(0.1 * u))
    np.testing.assert_allclose(found.confidence["galaxy_0"], gamma, rtol=1e-4)


def auc(scores, masked):
    """Return how often a masked pixel has a higher score than one with data."""
    ranks = scipy.stats.rankdata(scores)[masked.ravel()]
    return (ranks.sum() - ranks.size * (ranks.size + 1) / 2) / (ranks.size * np.sum(~masked))


def one_galaxy(flux, masked=None, neighbour=None, seed=0, prior=None):
    """Return the posterior of a galaxy of 15 x 15 pixels, alone or beside another one, with noise."""
    shape, rng = (24, 24), np.random.default_rng(seed)
    centers = [np.array([11.0, 9.0]), *([] if neighbour is None else [np.array([11.0, 9.0 + neighbour])])]
    spectrum = np.array([0.6, 1.0])
    spots = sum(gaussian(shape, c, 2.3) for c in centers)
    images = flux * spectrum[:, None, None] * spots + rng.normal(size=(2, *shape))
    weights = np.ones(images.shape)
    if masked is not None:
        weights[:, masked] = 0
    observation = make_observation(images, weights, [gaussian((9, 9), (4, 4), 1.2)] * 2, ["g", "r"])
    sources = tuple(
        make_source(f"galaxy_{k}", gaussian_morphology(15, 2.0), c, flux * spectrum)
        for k, c in enumerate(centers)
    )
    prior = load_gaussian_prior() if prior is None else prior
    return Posterior(Scene(observation.frame, sources, None, GaussianPSF(0.7)), observation, image=prior)


def grade(posterior):
    return hallucination_score(jax.random.key(0), posterior, posterior.initial_position())


def test_the_score_separates_masked_pixels_from_data(seed_shift):
    masked = np.zeros((24, 24), bool)
    masked[:, 10:] = True  # from the ninth column of the box on
    score = grade(one_galaxy(10_000.0, masked, seed=seed_shift)).difference["galaxy_0"]
    behind = masked[4:19, 2:17]
    assert auc(score, behind) >= 0.95
    faint = grade(one_galaxy(1000.0, masked, seed=seed_shift))
    assert (
        auc(faint.difference["galaxy_0"], behind) < 0.9
    )  # follows the prior's own diagonal, which the share does not
    assert auc(-faint.data_share["galaxy_0"], behind) >= 0.95
    shuffled = np.random.default_rng(2 + seed_shift).permutation(behind.ravel()).reshape(behind.shape)
    assert abs(auc(score, shuffled) - 0.5) < 0.2  # negative control: within 5 sigma of a coin


@pytest.mark.parametrize(
    ("load", "least"),
    [(load_gaussian_prior, 0.95), (load_log_gaussian_prior, 0.8), (load_profile_prior, 0.8)],
)
def test_the_share_of_data_separates_masked_pixels_and_grows_with_signal_to_noise(seed_shift, load, least):
    """Where light is faint a prior of its logarithm knows it as well as data do, on both sides of the mask."""
    masked = np.zeros((24, 24), bool)
    masked[:, 10:] = True
    behind, prior = masked[4:19, 2:17], load()
    half = grade(one_galaxy(1000.0, masked, seed=seed_shift, prior=prior))
    assert auc(-half.data_share["galaxy_0"], behind) >= least
    fluxes = (100.0, 300.0, 1000.0, 3000.0)
    whole = [grade(one_galaxy(f, seed=seed_shift, prior=prior)).light_from_data["galaxy_0"] for f in fluxes]
    assert np.all(np.diff([0, *whole, 1]) > 0)
    assert half.light_from_data["galaxy_0"] < 0.8 * whole[2]


def test_gamma_grows_with_signal_to_noise_and_does_not_heed_neighbours(seed_shift):
    """At one and the same shape; the noise is one realization, which moves the fitted fluxes."""
    alone = [grade(one_galaxy(flux, seed=1 + seed_shift)) for flux in (300.0, 1000.0, 3000.0)]
    gammas = np.array([hall.confidence["galaxy_0"] for hall in alone])
    assert gammas[0] < gammas[1] < gammas[2]
    shape = np.asarray(to_morphology(gaussian_morphology(15, 2.0).image), float)
    of_data = gammas + np.sum(alone[0].prior["galaxy_0"] * shape)
    np.testing.assert_allclose(of_data[1:] / of_data[2], [1 / 9, 1], rtol=0.05)  # as the flux squared
    for distance in (8.0, 4.0, 2.0):
        blended = grade(one_galaxy(3000.0, neighbour=distance, seed=1 + seed_shift)).likelihood["galaxy_0"]
        np.testing.assert_allclose(np.sum(blended * shape), of_data[2], rtol=0.15)


def test_bad_input(posterior, position):
    with pytest.raises(ConfigError, match="num_draws 0"):
        hallucination_score(jax.random.key(0), posterior, position, num_draws=0)
    with pytest.raises(PositionError, match="galaxy_0"):
        hallucination_score(jax.random.key(0), posterior, {"other": jnp.zeros(3)})
    none = Draws(
        {n: np.zeros((2, 0, *v.shape)) for n, v in position.items()}, {}, {}, "interrupted", {}, posterior
    )
    with pytest.raises(DataError, match="no draws"):
        hallucination_score(jax.random.key(0), posterior, none)

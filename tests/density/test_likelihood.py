"""The Gaussian likelihood of a scene, and amplitudes that no pixel knows."""

import equinox as eqx
import jax.numpy as jnp
import numpy as np
import pytest

from scoresample.density.likelihood import make_likelihood
from scoresample.density.posterior import Posterior
from scoresample.models.initialization import gaussian_morphology
from scoresample.models.morphology import PointSource
from scoresample.models.scene import Scene
from scoresample.models.source import make_source


@pytest.fixture
def likelihood(make_scene):
    return make_likelihood(*make_scene())


def test_columns_end_with_the_background(make_scene, likelihood):
    scene, _ = make_scene()
    columns = likelihood.columns(scene.parameters)
    assert columns.shape == (3, 2, 169)
    np.testing.assert_array_equal(columns[2], 1)
    np.testing.assert_allclose(columns[:2].sum(axis=2), 1, atol=0.02)


def test_log_prob_is_half_the_weighted_sum_of_squares(make_scene, likelihood):
    scene, observation = make_scene()
    columns = np.asarray(likelihood.columns(scene.parameters), float)
    amplitudes = np.array([[50.0, 45.0, 0.2], [80.0, 20.0, 0.1]])
    model = np.einsum("bk,kbp->bp", amplitudes, columns).reshape(2, 13, 13)
    exact = -0.5 * np.sum(
        np.asarray(observation.inverse_variance) * (np.asarray(observation.images) - model) ** 2
    )
    found = likelihood.log_prob(jnp.asarray(columns), jnp.asarray(amplitudes))
    np.testing.assert_allclose(float(found), exact, rtol=1e-4)


def test_object_fluxes_sum_components_inside_the_frame(make_scene):
    scene, observation = make_scene()
    core = make_source("core", gaussian_morphology(5, 0.8), (12.6, 6.0), (5.0, 7.0), parent="star_1")
    likelihood = make_likelihood(
        Scene(scene.frame, (*scene.sources, core), None, scene.model_psf), observation
    )
    columns = likelihood.columns(scene.parameters | core.parameters)
    amplitudes = jnp.array([[10.0, 20.0, 30.0], [1.0, 2.0, 3.0]])
    inside = np.asarray(columns.sum(axis=2))
    assert np.all(inside[2] < 0.8)  # it sits on the edge
    exact = [10.0, 1.0] * inside[0], [20.0, 2.0] * inside[1] + [30.0, 3.0] * inside[2]
    np.testing.assert_allclose(likelihood.object_fluxes(columns, amplitudes), exact, rtol=1e-5)


def test_a_band_without_data_changes_nothing_in_the_others(make_scene):
    dark, full = (Posterior(*make_scene(dark=d), center=None) for d in (True, False))
    np.testing.assert_array_equal(dark.likelihood.unseen, [[False] * 3, [True] * 3])
    assert not np.any(full.likelihood.unseen)
    solutions = [p.solve(p.likelihood.columns(p.values({}))) for p in (dark, full)]
    np.testing.assert_allclose(solutions[0].mean[0], solutions[1].mean[0], rtol=1e-5)
    np.testing.assert_allclose(solutions[0].covariance()[0], solutions[1].covariance()[0], rtol=1e-4)
    np.testing.assert_allclose(solutions[0].mean[1], 0, atol=1e-6)
    assert np.isfinite(float(solutions[0].log_evidence))


def test_a_source_without_pixels_leaves_its_neighbours_alone(make_scene):
    scene, observation = make_scene()
    outside = make_source("far", gaussian_morphology(5, 0.8), (40.0, 40.0), (5.0, 7.0))
    posterior = Posterior(
        Scene(scene.frame, (*scene.sources, outside), None, scene.model_psf),
        observation,
        center=None,
        image=None,
    )
    np.testing.assert_array_equal(posterior.likelihood.unseen, [[False, False, True]] * 2)
    alone = Posterior(Scene(scene.frame, scene.sources, None, scene.model_psf), observation, center=None)
    found, exact = posterior.amplitudes({}), alone.amplitudes({})
    np.testing.assert_allclose(found[:, :2], exact, rtol=1e-4)


def test_a_star_whose_pixels_are_masked_but_for_a_far_wing_counts_as_unseen(make_scene):
    """Its flux would hang on a millionth of its light: by noise, it would be millions."""
    scene, observation = make_scene()
    far = make_source("far", PointSource(), (2.0, 1.0), (50.0, 50.0), box=13)
    scene = Scene(scene.frame, (*scene.sources, far), scene.background, scene.model_psf)

    def unseen(radius):
        y, x = np.indices(observation.frame.shape)
        near = np.hypot(y - 2, x - 1) < radius
        weights = jnp.where(near, 0, observation.inverse_variance.at[1].set(1))
        masked = eqx.tree_at(lambda o: o.inverse_variance, observation, weights)
        return np.asarray(make_likelihood(scene, masked).unseen)[:, 2]

    # The squared image is a Gaussian of sigma 0.85: outside of radius r there is exp(-r^2 / 1.44) of it.
    assert not unseen(3.0).any()
    assert unseen(5.5).all()


def test_a_masked_center_with_data_around_is_seen(make_scene):
    scene, observation = make_scene()
    y, x = np.asarray(scene.sources[0].center).round().astype(int)
    weights = observation.inverse_variance.at[:, y, x].set(0)
    masked = eqx.tree_at(lambda o: o.inverse_variance, observation, weights)
    assert not make_likelihood(scene, masked).unseen.any()

"""Dispersed starts: where a scene has two modes R-hat sees them, and where it has one nothing changes."""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest

import scoresample as ss
from scoresample.models.scene import Scene

SHAPE, CHAINS = (15, 15), 8
PLACES, FLUX = np.array([[7.0, 5.0], [7.0, 9.0]]), np.array([[400.0, 100.0], [100.0, 400.0]])


def gaussian(shape, center, sigma):
    y, x = np.indices(shape)
    out = np.exp(-((y - center[0]) ** 2 + (x - center[1]) ** 2) / (2 * sigma**2))
    return out / out.sum()


def two_stars(detected, spread, seed):
    """A posterior of a red and a blue star, with their detections, and the width of the prior on centers."""
    light = np.stack([gaussian(SHAPE, place, 1.4) for place in PLACES])
    noise = np.random.default_rng(seed).normal(size=(2, *SHAPE))
    images = np.einsum("kb,kyx->byx", FLUX, light) + noise
    observation = ss.make_observation(
        images, np.ones_like(images), [gaussian((9, 9), (4, 4), 1.4)] * 2, ["g", "r"]
    )
    stars = tuple(
        ss.make_source(f"star_{k}", ss.PointSource(), detected[k], FLUX[k], box=13) for k in range(2)
    )
    scene = Scene(observation.frame, stars, jnp.zeros(2), ss.GaussianPSF(0.7))
    return ss.Posterior(scene, observation, center=dist.Normal(0, spread))


@pytest.fixture(scope="module")
def swapped(seed_shift):
    """Detections half a pixel apart, from which either star may be the red one: a posterior, and its MAP.

    That in which they change places is (2.25^2 - 1.75^2) / 2^2 = 0.5 nats below in the prior, and of the same width.
    """
    posterior = two_stars(np.array([[7.0, 6.75], [7.0, 7.25]]), 2.0, 5 + seed_shift)
    return posterior, ss.find_map(posterior, progress=False).position


def draws_from(key, posterior, start):
    sizes = {"num_chains": CHAINS, "num_warmup": 200, "num_draws": 200, "progress": False}
    return ss.sample(key, posterior, ss.HMC(), start=start, **sizes)


def shares(draws):
    """Return for each chain how often the first star is the brighter one in g."""
    flux = draws.derived["flux"]
    return np.mean(flux[:, :, 0, 0] > flux[:, :, 1, 0], axis=1)


def test_chains_from_the_map_agree_on_one_of_two_modes(key, swapped):
    """What is wrong without dispersed starts: half of the mass is missed, and R-hat is fine."""
    posterior, best = swapped
    draws = draws_from(key, posterior, best)
    diagnosis = ss.diagnose(draws, max_rhat=1.05, min_ess=100.0)
    assert diagnosis.converged, diagnosis
    np.testing.assert_array_equal(shares(draws), shares(draws)[0])


def test_dispersed_chains_disagree_and_the_verdict_says_on_what(key, swapped):
    posterior, best = swapped
    key_start, key_run = jax.random.split(key)
    starts = ss.dispersed_starts(key_start, posterior, best, CHAINS)
    assert len(starts.positions) == CHAINS and starts.positions[0] is best
    for position, below, kept in zip(*starts, strict=True):
        posterior.check_position(position)
        assert kept == (below < 10)
    assert ((starts.below < 0.2) | (starts.below > 0.3)).all() and (starts.below > -0.1).all()
    draws = draws_from(key_run, posterior, starts.positions)
    assert set(shares(draws)) == {0, 1}
    diagnosis = ss.diagnose(draws)
    assert not diagnosis.converged and diagnosis.table["r_hat"].max() > 1.1
    assert any("is split between star_0 and star_1 (bands g, r)" in note for note in diagnosis.notes)


def test_climbs_far_below_are_not_kept(key, swapped):
    posterior, best = swapped
    starts = ss.dispersed_starts(key, posterior, best, CHAINS, within=0.25)
    for position, below, kept in zip(*starts, strict=True):
        assert kept == (below < 0.25)
        assert kept or position is best
    assert not starts.kept.all()


def test_one_mode_is_one_mode(key, seed_shift):
    """Negative control: with detections in place all climbs end at the MAP, and draws pass."""
    posterior = two_stars(PLACES + 0.1, 0.3, 5 + seed_shift)
    best = ss.find_map(posterior, progress=False).position
    key_start, key_run = jax.random.split(key)
    starts = ss.dispersed_starts(key_start, posterior, best, CHAINS)
    assert starts.kept.all() and np.abs(starts.below).max() < 0.2
    draws = draws_from(key_run, posterior, starts.positions)
    diagnosis = ss.diagnose(draws, max_rhat=1.05, min_ess=100.0)
    assert diagnosis.converged and diagnosis.splits == (), diagnosis
    np.testing.assert_array_equal(shares(draws), 1)


def test_the_key_decides_and_the_best_is_first(key, swapped):
    posterior, best = swapped
    one, again = (ss.dispersed_starts(key, posterior, best, 3) for _ in range(2))
    jax.tree.map(np.testing.assert_array_equal, one, again)
    other = ss.dispersed_starts(jax.random.fold_in(key, 1), posterior, best, 3)
    assert not np.array_equal(one.below, other.below)
    assert len(ss.dispersed_starts(key, posterior, best, 1).positions) == 1


def test_without_time_chains_begin_at_the_best(key, swapped):
    posterior, best = swapped
    starts = ss.dispersed_starts(key, posterior, best, 3, max_seconds=0.0)
    assert all(position is best for position in starts.positions)
    np.testing.assert_array_equal(starts.kept, [True, False, False])
    assert np.isnan(starts.below[1:]).all()


def test_ctrl_c_during_a_climb_ends_it_all(key, swapped, monkeypatch):
    def pressed(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr("scoresample.samplers.optimize.Climber.init", pressed)
    with pytest.raises(KeyboardInterrupt):
        ss.dispersed_starts(key, *swapped, 3)


def test_sampled_fluxes_begin_at_their_best_values(key, swapped):
    posterior, _ = swapped
    sampled = ss.Posterior(posterior.scene, posterior.observation, center=dist.Normal(0, 2.0), collapse=False)
    best = sampled.initial_position()
    starts = ss.dispersed_starts(key, sampled, best, 2, max_steps=20, within=np.inf)
    sampled.check_position(starts.positions[1])


def test_a_prior_known_by_its_score_alone_has_no_draws(key):
    flat = gaussian(SHAPE, (7, 7), 2.0)[None] * 100
    observation = ss.make_observation(flat, np.ones_like(flat), [gaussian((9, 9), (4, 4), 1.4)], ["g"])
    scene = ss.initialize_scene(observation, ss.make_catalog([[7.0, 7.0]]))
    (source,) = scene.sources
    prior = ss.ScorePrior(lambda u: -u, source.shape, 0.1)
    posterior = ss.Posterior(scene, observation, image=prior)
    with pytest.raises(ss.ScoreOnlyError, match=r"drawn from the prior, but 'galaxy_0.image'"):
        ss.dispersed_starts(key, posterior, posterior.initial_position(), 3)

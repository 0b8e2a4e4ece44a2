"""Runs that cannot go on end with a reason and keep their draws; runs that only begin badly go on."""

import time

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from blackjax.mcmc.hmc import HMCState

import scoresample as ss
from scoresample.samplers import chunks, endings

SIZE = 4


def log_prob(x):
    return -0.5 * jnp.sum(x**2)


NORMAL = ss.Density(log_prob=log_prob)
START = jnp.full(SIZE, 0.5)


def run(key, density=NORMAL, sampler=None, **options):
    sizes = {"num_chains": 3, "num_warmup": 100, "num_draws": 200, "start": START, "progress": False}
    return ss.sample(key, density, ss.HMC() if sampler is None else sampler, **(sizes | options))


def network_of_nan(x):
    """A score that is a number where the chains start, and nowhere else."""
    return jnp.where(jnp.all(x == 0.5), -x, jnp.nan)


@pytest.mark.parametrize("sampler", [ss.NUTS(), ss.HMC(), ss.MALA(), ss.ULA()], ids=lambda s: s.name)
def test_a_network_that_gives_nan_ends_the_run_in_warm_up(key, sampler):
    draws = run(key, ss.Density(log_prob=log_prob, score=network_of_nan), sampler, num_warmup=1000)
    assert draws.status.startswith(
        "stopped: chains 0, 1 and 2 did not move for 100 steps, at a step size of "
    )
    assert "the density or its score may not be finite around there" in draws.status
    assert draws.position.shape == (3, 0, SIZE)
    diagnosis = ss.diagnose(draws)
    assert not diagnosis.converged and not diagnosis.more_draws_may_help
    assert any(draws.status in reason for reason in diagnosis.reasons)


def test_a_chain_that_starts_where_the_score_is_nan_is_named(key):
    starts = [START, jnp.full(SIZE, 3.0), START]
    edge = ss.Density(score=lambda x: jnp.where(x[0] > 2, jnp.nan, -x))
    draws = run(key, edge, start=starts)
    assert draws.status.startswith("stopped: the log density or its score is not finite where chain 1 start")
    assert draws.settings["num_kept"] == 0


def test_one_chain_that_cannot_move_is_found_before_the_others_crawl(key):
    def trap(x):
        return jnp.where(x[0] > 6, jnp.where(jnp.all(x == 30), 0.0, jnp.nan), log_prob(x))

    starts = [START, jnp.full(SIZE, 30.0), START]
    draws = run(key, ss.Density(log_prob=trap), ss.MALA(), start=starts, num_warmup=2000)
    assert draws.status.startswith("stopped: chain 1 did not move for 100 steps")
    assert draws.settings["num_kept"] == 0


def test_what_is_not_finite():
    known = np.ones((4, 3))
    known[2, 1] = np.inf
    state = HMCState(known, np.array([0.0, np.nan, 0.0, -np.inf]), known)
    with pytest.raises(endings.RunEnded, match="is not finite where chains 1 and 2 start"):
        endings.check_finite(state, "start")
    endings.check_finite(HMCState(known[3:], np.array([-np.inf]), known[3:]), "start")


@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e3])
def test_a_start_far_out_makes_steps_small_for_a_while_and_they_grow_again(key, scale):
    density = ss.Density(log_prob=lambda x: log_prob(x / scale))
    draws = run(key, density, start=jnp.full(SIZE, 30 * scale), num_warmup=400, num_draws=400)
    assert draws.status == "done"
    assert np.std(draws.position) / scale == pytest.approx(1, rel=0.15)


def test_a_chain_that_does_not_move_ends_the_run_and_its_draws_are_kept(key, monkeypatch):
    real = chunks.draw

    def holding(*arguments):
        states, (position, derived, stats) = real(*arguments)
        return states, (position.at[:, 2].set(1.25), derived, stats)

    monkeypatch.setattr(chunks, "draw", holding)
    draws = run(key, num_draws=400)
    assert draws.status.startswith("stopped: chain 2 did not move for 100 steps")
    assert draws.settings["num_kept"] == 100
    assert np.isfinite(draws.position).all()
    assert run(key, num_draws=75).status == "done"  # not enough to tell


def test_one_move_in_any_leaf_begins_the_count_anew():
    still = {"a": np.zeros((25, 2, 3)), "b": np.zeros((25, 2))}
    moved = {"a": np.zeros((25, 2, 3)), "b": np.where(np.arange(25)[:, None] == 9, [[0.0, 1e-6]], 0.0)}
    count = endings.check_moves(np.array([70, 70]), moved, 0.1)
    np.testing.assert_array_equal(count, [95, 0])
    with pytest.raises(endings.RunEnded, match="chain 0 did not move for 100 steps, at a step size"):
        endings.check_moves(count, still, 0.1)


def test_a_score_that_is_not_that_of_the_value_ends_as_a_collapsed_step_size(make_scene, key):
    class Rough(ss.AbstractLogPrior):
        """A density with many nats at a scale of a thousandth, which its score does not tell."""

        name: str = "rough"
        noise_level: float = 0.1

        def log_prob(self, value):
            return -0.5 * jnp.sum(value**2) + 1e3 * jax.lax.stop_gradient(jnp.sum(jnp.sin(1e4 * value)))

        def sample(self, key, shape, n):
            return jax.random.normal(key, (n, *shape))

    posterior = ss.Posterior(*make_scene(galaxies=True), image=Rough())
    draws = ss.sample(key, posterior, ss.HMC(), num_chains=2, num_warmup=60, num_draws=50, progress=False)
    assert draws.status.startswith("stopped: the step size collapsed to ")
    assert draws.derived["flux"].shape == (2, 0, 2, 2)


def test_the_time_a_run_may_take(key, monkeypatch, tmp_path):
    whole = run(key)
    real = chunks.draw

    def slow(*arguments):
        time.sleep(0.3)
        return real(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(chunks, "draw", slow)
        draws = run(key, max_seconds=1.0, checkpoint=tmp_path / "run.npz")
    kept = draws.settings["num_kept"]
    assert draws.status == f"out of time: 1 s were over after {kept} of 200 draws"
    assert 0 < kept < 200 and kept % 25 == 0
    assert draws.settings["seconds"] < 3
    np.testing.assert_array_equal(draws.position, whole.position[:, :kept])
    resumed = run(key, max_seconds=600.0, checkpoint=tmp_path / "run.npz")
    assert resumed.status == "done"
    np.testing.assert_array_equal(resumed.position, whole.position)


def test_without_any_time_there_are_no_draws(key):
    draws = run(key, max_seconds=0.0)
    assert draws.status == "out of time: 0 s were over after 0 of 100 warm-up steps"
    assert draws.position.shape == (3, 0, SIZE)
    with pytest.raises(ss.ConfigError, match=r"max_seconds is -1\.0; it must be 0 or more"):
        run(key, max_seconds=-1.0)


def test_a_climb_has_its_time_too():
    best = ss.find_map(NORMAL, START, max_seconds=0.0, progress=False)
    assert best.status == "out of time"
    np.testing.assert_array_equal(best.position, START)
    assert ss.find_map(NORMAL, START, max_seconds=600.0, progress=False).status == "converged"

"""Trajectories as long as what mixes slowest needs them."""

import os

import arviz_stats
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jaxtyping import Array, Float

import scoresample as ss
from scoresample.density.base import AbstractDensity, Position
from scoresample.numerics.linear import identity_scale
from scoresample.samplers.adaptation import WARM_UP_SCORES, WindowAdaptation
from scoresample.samplers.groups import mean_of
from scoresample.samplers.trajectories import stretch_of

SEED = int(os.environ.get("SCORESAMPLE_TEST_SEED", 0))
WIDTH = 6.0
SHAPE = (50, 4, 3000)  # steps, chains, coordinates


def chains(width: float) -> np.ndarray:
    """Return positions of which one coordinate is so much wider than trajectories of a mean length of 3 cross."""
    rng = np.random.default_rng(SEED)
    positions = rng.normal(size=SHAPE)
    for step in range(1, SHAPE[0]):
        turned = np.cos(3 * rng.uniform(1 / 3, 5 / 3) / width)
        fresh = np.sqrt(1 - turned**2) * rng.normal(size=SHAPE[1])
        positions[step, :, 7] = turned * positions[step - 1, :, 7] + fresh
    return positions


def test_what_mixes_fast_asks_for_nothing():
    assert stretch_of(chains(1.0), 4.0) == 1
    assert stretch_of(np.zeros((50, 4, 3)), 4.0) == 1


@pytest.mark.parametrize(("width", "least", "most"), [(5.0, 1.7, 4.5), (10.0, 3.0, 10.0)])
def test_what_mixes_slowly_asks_for_trajectories_of_its_width(width, least, most):
    """The right one is 1.6 * width / 3; from 200 steps it is known within a factor of two."""
    assert least < stretch_of(chains(width), 100.0) < most


def test_steps_that_are_refused_ask_for_nothing():
    """A chain that often stays where it is has positions that are alike, and longer trajectories would not help it."""
    assert stretch_of(np.repeat(chains(1.0), 3, axis=0), 4.0) == 1
    assert stretch_of(np.repeat(chains(10.0), 3, axis=0), 100.0) > 3


def test_there_is_a_most():
    assert stretch_of(chains(50.0), 4.0) == 4


class Banana(AbstractDensity):
    """A coordinate of width 6 along which eight others bend: wherever it is looked at, it is narrow."""

    def explicit(self, position: Position) -> Float[Array, ""]:
        long, rest = position["x"][0], position["x"][1:]
        return -0.5 * (long / WIDTH) ** 2 - 0.5 * jnp.sum((rest - jnp.sin(jnp.arange(8) + 0.5 * long)) ** 2)

    def local_scale(self, position: Position):
        return [(("x",), identity_scale(9, position["x"].dtype))]

    @property
    def score_only_terms(self) -> tuple[str, ...]:
        return ()

    def score_only(self, position: Position) -> Position:
        return jax.tree.map(jnp.zeros_like, position)


def draw(key, sampler):
    return ss.sample(
        key, Banana(), sampler, start={"x": jnp.zeros(9)}, num_warmup=200, num_draws=500, progress=False
    )


def test_warm_up_makes_trajectories_longer_where_chains_crawl(key):
    draws, short = draw(key, ss.HMC(max_stretch=4.0)), draw(key, ss.HMC())
    assert draws.settings["trajectory_stretch"] > 1.5
    assert short.settings["trajectory_stretch"] == 1
    mean_steps = [np.mean(d.stats["num_steps"]) for d in (draws, short)]
    assert mean_steps[0] > 1.3 * mean_steps[1]
    jumps = [np.mean(np.diff(d.position["x"][..., 0], axis=1) ** 2) for d in (draws, short)]
    assert jumps[0] > 1.5 * jumps[1]
    error = WIDTH / np.sqrt(
        2 * float(arviz_stats.ess(draws.position["x"][..., 0]))
    )  # of the standard deviation
    assert abs(np.std(draws.position["x"][..., 0]) - WIDTH) < 5 * error


def test_once_their_length_is_known_warm_up_has_the_trajectories_of_the_draws():
    """Where they become longer, averages of the step size begin anew."""
    adaptation, no = WindowAdaptation(0.8, adapt_mass=False), jnp.asarray(False)
    state = adaptation.init(9, 0.1, jnp.float32)
    for _ in range(3):
        state = adaptation.update(state, jnp.zeros((4, 9)), jnp.full(4, 0.8), no, no)
    assert int(adaptation.current(state).max_scores) == WARM_UP_SCORES
    as_long, longer = (adaptation.lengthened(state, stretch) for stretch in (1.0, 2.0))
    assert all(int(adaptation.current(one).max_scores) > 1e5 for one in (as_long, longer))
    assert int(as_long.step_size.step) == int(state.step_size.step) > int(longer.step_size.step)
    np.testing.assert_allclose(adaptation.final(longer).step_size, adaptation.final(state).step_size)
    together = mean_of([longer, longer, longer])  # of groups of chains
    assert int(adaptation.current(together).max_scores) == int(adaptation.current(longer).max_scores)

"""Runs: the same key, chunks, checkpoints, interruptions, starts, and what is refused."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import scoresample.samplers.run as run_module
from scoresample.density.base import Density
from scoresample.density.posterior import Posterior
from scoresample.errors import ConfigError, FileFormatError, PositionError, ScoreOnlyError
from scoresample.models.gaussian_prior import load_gaussian_prior
from scoresample.models.priors import AbstractPrior
from scoresample.samplers import chunks
from scoresample.samplers.hmc import HMC, MALA, NUTS
from scoresample.samplers.laplace import Laplace
from scoresample.samplers.optimize import find_map
from scoresample.samplers.run import sample

START = {"a": (jnp.zeros(2), jnp.ones(())), "b": [jnp.full((2, 2), 0.5)]}


def log_prob(x):
    return -0.5 * sum(jnp.sum(leaf**2) for leaf in jax.tree.leaves(x)) - 0.1 * jnp.sum(x["b"][0]) ** 4


DENSITY = Density(log_prob=log_prob)


def draw(key, sampler=None, density=DENSITY, **options):
    sizes = {"num_chains": 2, "num_warmup": 40, "num_draws": 55, "start": START, "progress": False}
    return sample(key, density, HMC() if sampler is None else sampler, **(sizes | options))


def assert_same(one, other, num=None):
    """The first ``num`` draws agree to the last bit."""
    for left, right in zip(jax.tree.leaves(one[:3]), jax.tree.leaves(other[:3]), strict=True):
        np.testing.assert_array_equal(left[:, :num], right[:, :num])


class Interrupt:
    """Raise KeyboardInterrupt instead of a call to a compiled piece, at the given call."""

    def __init__(self, monkeypatch, name, at):
        self.original, self.at, self.calls = getattr(chunks, name), at, 0
        monkeypatch.setattr(chunks, name, self)

    def __call__(self, *arguments):
        self.calls += 1
        if self.calls == self.at:
            raise KeyboardInterrupt
        return self.original(*arguments)


def test_any_tree_is_a_position(key):
    draws = draw(key)
    assert draws.status == "done"
    assert jax.tree.structure(draws.position) == jax.tree.structure(START)
    shapes = jax.tree.map(lambda leaf, first: leaf.shape == (2, 55, *first.shape), draws.position, START)
    assert all(jax.tree.leaves(shapes))
    assert draws.stats["log_prob"].shape == (2, 55)
    last = jax.tree.map(lambda leaf: leaf[1, -1], draws.position)
    np.testing.assert_allclose(draws.stats["log_prob"][1, -1], log_prob(last), rtol=1e-5)
    assert draws.derived == {}
    assert draws.settings["num_kept"] == 55
    assert draws.settings["sampler"]["name"] == "HMC"


@pytest.mark.parametrize("sampler", [NUTS(), HMC(), MALA()], ids=lambda s: s.name)
def test_the_same_key_gives_the_same_draws(key, sampler):
    first, again = draw(key, sampler), draw(key, sampler)
    assert_same(first, again)
    other = draw(jax.random.split(key)[0], sampler)
    assert np.any(other.stats["log_prob"] != first.stats["log_prob"])


def test_fewer_draws_are_the_first_ones(key):
    """55 draws are three pieces, 30 are two: the cuts change nothing."""
    assert_same(draw(key, num_draws=30), draw(key), 30)


@pytest.mark.parametrize("sampler", [NUTS(), HMC(), MALA()], ids=lambda s: s.name)
def test_a_second_run_compiles_nothing(key, compilations, sampler):
    first, other = draw(key, sampler), jax.random.split(key)[1]
    before = compilations()
    assert_same(first, draw(key, sampler))
    draw(other, sampler, num_draws=30)
    assert compilations() == before


@pytest.mark.parametrize("sampler", [NUTS(), HMC(), MALA(), Laplace()], ids=lambda s: s.name)
def test_a_second_scene_of_the_same_shapes_compiles_no_chain_anew(make_scene, key, compilations, sampler):
    scene, observation = make_scene()
    brighter = eqx.tree_at(lambda o: o.images, observation, 1.5 * observation.images)
    sizes = {"num_chains": 2, "num_warmup": 30, "num_draws": 30, "progress": False}
    posteriors = [Posterior(scene, o) for o in (observation, brighter)]
    starts = [find_map(p, progress=False).position for p in posteriors]
    first = sample(key, posteriors[0], sampler, start=starts[0], **sizes)
    before = compilations()
    find_map(posteriors[1], progress=False)
    second = sample(key, posteriors[1], sampler, start=starts[1], **sizes)
    assert compilations() == before
    assert np.all(second.derived["flux"].mean() > 1.2 * first.derived["flux"].mean())


def test_a_start_for_each_chain(key):
    starts = [START, jax.tree.map(lambda v: v + 1.0, START)]
    draws = draw(key, start=starts, num_warmup=0, num_draws=1)
    assert jax.tree.leaves(draws.position)[0].shape == (2, 1, 2)
    assert_same(draw(key, start=[START, START]), draw(key, start=START))


def test_ctrl_c_keeps_the_draws_so_far(key, monkeypatch):
    whole = draw(key)
    Interrupt(monkeypatch, "draw", 2)
    draws = draw(key)
    assert draws.status == "interrupted"
    assert draws.settings["num_kept"] == 25
    assert_same(draws, jax.tree.map(lambda leaf: leaf[:, :25], whole[:3]))


def test_ctrl_c_during_warm_up_hands_back_no_draws(key, monkeypatch):
    Interrupt(monkeypatch, "warm_up", 2)
    draws = draw(key)
    assert draws.status == "interrupted"
    assert jax.tree.structure(draws.position) == jax.tree.structure(START)
    assert draws.stats["log_prob"].shape == (2, 0)


@pytest.mark.parametrize(("piece", "at"), [("draw", 1), ("draw", 3), ("warm_up", 2)])
def test_a_resumed_run_gives_the_draws_of_one_without_a_break(key, monkeypatch, tmp_path, piece, at):
    whole = draw(key)
    with monkeypatch.context() as patch:
        Interrupt(patch, piece, at)
        assert draw(key, checkpoint=tmp_path / "run.npz").status == "interrupted"
    assert (tmp_path / "run.npz").exists()
    resumed = draw(key, checkpoint=tmp_path / "run.npz")
    assert resumed.status == "done"
    assert_same(resumed, whole)
    assert list(tmp_path.iterdir()) == []


def test_a_posterior_is_resumed_too(make_scene, key, monkeypatch, tmp_path):
    posterior = Posterior(*make_scene())
    sizes = {"num_chains": 2, "num_warmup": 60, "num_draws": 30, "progress": False}
    whole = sample(key, posterior, HMC(), **sizes)
    with monkeypatch.context() as patch:
        Interrupt(patch, "draw", 2)
        sample(key, posterior, HMC(), checkpoint=tmp_path / "run.npz", **sizes)
    resumed = sample(key, posterior, HMC(), checkpoint=tmp_path / "run.npz", **sizes)
    assert_same(resumed, whole)


def test_checkpoints_are_written_while_running(key, monkeypatch, tmp_path):
    monkeypatch.setattr(run_module, "_SECONDS_BETWEEN_CHECKPOINTS", 0.0)
    saved, original = [], run_module.save_checkpoint
    monkeypatch.setattr(run_module, "save_checkpoint", lambda *a: (saved.append(1), original(*a)))
    assert draw(key, checkpoint=tmp_path / "run.npz").status == "done"
    assert len(saved) == 2 + 3
    assert list(tmp_path.iterdir()) == []


def test_a_checkpoint_of_another_run_is_refused(key, monkeypatch, tmp_path):
    path = tmp_path / "run.npz"
    with monkeypatch.context() as patch:
        Interrupt(patch, "draw", 2)
        draw(key, checkpoint=path)
    with pytest.raises(ConfigError, match=r"run\.npz belongs to a run with other data, settings or seed"):
        draw(key, checkpoint=path, num_draws=56)
    narrower = Density(log_prob=lambda x: 2 * log_prob(x))  # alike at the start, where both are 0 and flat
    with pytest.raises(ConfigError, match=r"run\.npz belongs to a run with other data, settings or seed"):
        draw(key, density=narrower, checkpoint=path)
    same = Density(log_prob=lambda x: log_prob(x))
    assert draw(key, density=same, checkpoint=path).status == "done"
    path.write_bytes(b"PK, but not for long")
    with pytest.raises(FileFormatError, match=r"run\.npz cannot be read"):
        draw(key, checkpoint=path)


@pytest.mark.parametrize(
    "sampler", [kind(energy="log_prob") for kind in (NUTS, HMC, MALA)], ids=lambda s: s.name
)
def test_a_score_is_not_enough_and_that_is_told_before_compiling(key, compilations, sampler):
    density = Density(score=lambda x: jax.tree.map(jnp.negative, x))
    before = compilations()
    with pytest.raises(
        ScoreOnlyError, match=f"{sampler.name} with .* compares log_prob .* term 'score' gives only"
    ):
        draw(key, sampler, density)
    assert compilations() == before


class ScoreOnly(AbstractPrior):
    """A prior of which only the score is told."""

    name: str = eqx.field(static=True, default="hidden")
    noise_level: float = eqx.field(static=True, default=0.14)

    def score(self, value):
        return -value


def test_the_score_only_term_of_a_posterior_is_named(make_scene, key):
    posterior = Posterior(
        *make_scene(galaxies=True), priors={"galaxy_1.image": ScoreOnly()}, image=load_gaussian_prior()
    )
    with pytest.raises(ScoreOnlyError, match=r"term 'galaxy_1.image' gives only a score"):
        sample(key, posterior, NUTS(energy="log_prob"))


def test_bad_input(make_scene, key):
    for options, message in [
        ({"num_chains": 0}, "num_chains is 0; it must be at least 1"),
        ({"num_warmup": -1}, "num_warmup is -1; it must be at least 0"),
        ({"num_draws": 0}, "num_draws is 0; it must be at least 1"),
        ({"start": [START] * 3}, "3 positions for 2 chains"),
        ({"start": None}, "no start of its own"),
        ({"sampler": HMC(energy="magic")}, "energy is 'magic'"),
    ]:
        with pytest.raises(ConfigError, match=message):
            draw(key, **options)
    with pytest.raises(PositionError, match=r"star_0\.center"):
        sample(key, Posterior(*make_scene()), start={"other": jnp.zeros(2)})


def test_laplace_needs_a_maximum(key):
    saddle = Density(log_prob=lambda x: 0.5 * jnp.sum(x[:1] ** 2) - 0.5 * jnp.sum(x[1:] ** 2))
    with pytest.raises(ValueError, match="needs a maximum to start from"):
        draw(key, Laplace(), saddle, start=jnp.zeros(3))


def test_laplace_keeps_whole_pieces_when_interrupted(key, monkeypatch):
    whole = draw(key, Laplace(), start=jax.tree.map(jnp.zeros_like, START))
    Interrupt(monkeypatch, "draw_normal", 3)
    draws = draw(key, Laplace(), start=jax.tree.map(jnp.zeros_like, START))
    assert draws.status == "interrupted"
    assert_same(draws, jax.tree.map(lambda leaf: leaf[:, :50], whole[:3]))

"""Annealed Langevin: modes that no chain gets between at the density's own noise level."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jaxtyping import Array, Float

import scoresample as ss
from scoresample.density.base import AbstractDensity, Position
from scoresample.models.score_prior import ScorePrior
from scoresample.samplers import chunks
from scoresample.samplers.annealed import AnnealedLangevin

APART, WIDTH, SHARE, OWN = 4.0, 0.2, 0.7, 0.3


class Modes(AbstractDensity):
    """Two Gaussians in the plane, at +4 with a share of 0.7 and at -4, known at every noise level."""

    level: Float[Array, ""] = eqx.field(default_factory=lambda: jnp.asarray(OWN))
    has_value: bool = eqx.field(static=True, default=True)

    def value(self, x):
        variance = WIDTH**2 + self.level**2
        squares = jnp.stack([jnp.sum((x - APART) ** 2), jnp.sum((x + APART) ** 2)])
        return jax.nn.logsumexp(-0.5 * squares / variance + jnp.log(jnp.array([SHARE, 1 - SHARE])))

    @property
    def score_only_terms(self) -> tuple[str, ...]:
        return () if self.has_value else ("modes",)

    def explicit(self, position: Position) -> Float[Array, ""]:
        return self.value(position) if self.has_value else jnp.zeros((), position.dtype)

    def score_only(self, position: Position) -> Position:
        return jax.grad(self.value)(position)

    @property
    def noise_levels(self) -> tuple[float, float]:
        return OWN, 10.0

    def at_noise_level(self, level) -> "Modes":
        return Modes(level, self.has_value)


def run(key, sampler, density=None, **options):
    sizes = {"num_chains": 256, "num_warmup": 100, "num_draws": 25, "start": jnp.full(2, APART)}
    return ss.sample(key, density or Modes(), sampler, progress=False, **(sizes | options))


@pytest.mark.parametrize("has_value", [True, False], ids=["value", "score"])
def test_chains_come_to_both_modes_in_their_shares_and_draw_them_right(key, has_value):
    draws = run(key, AnnealedLangevin(), Modes(has_value=has_value))
    assert draws.status == "done"
    x = np.asarray(draws.position)
    at_plus = x[:, -1].mean(axis=-1) > 0
    assert abs(at_plus.mean() - SHARE) < 5 * np.sqrt(SHARE * (1 - SHARE) / 256)
    around = x[:, -1] - np.where(at_plus, APART, -APART)[:, None]
    variance = WIDTH**2 + OWN**2
    assert abs(np.mean(around**2) / variance - 1) < 5 * np.sqrt(2 / around.size)
    assert draws.settings["unadjusted"] is False


def test_that_test_sees_chains_that_stay_where_they_start(key):
    x = np.asarray(run(key, ss.MALA()).position)
    assert (x > 0).all()


def test_all_can_be_left_uncorrected(key):
    rough = run(key, AnnealedLangevin(energy="none", step_size=0.6))
    around = np.asarray(rough.position)[:, -1]
    around = around - np.sign(around) * APART
    assert np.mean(around**2) / (WIDTH**2 + OWN**2) > 1.2
    assert rough.settings["unadjusted"] is True
    assert any("unadjusted" in note for note in ss.diagnose(rough).notes)


def test_levels_and_stages_go_down_to_the_densitys_own():
    sampler = AnnealedLangevin(num_levels=5, largest_level=5.0).resolved(Modes())
    np.testing.assert_allclose(sampler.levels(Modes()), np.geomspace(5.0, OWN, 5))
    stages = sampler.stages(Modes(), 100)
    assert [stage.begin for stage in stages] == [0, 12, 25, 38, 50]
    assert float(stages[-1].density.level) == pytest.approx(OWN)


def test_all_levels_share_what_is_compiled(key, compilations):
    run(key, AnnealedLangevin(num_levels=4), num_chains=3)
    before = compilations()
    run(key, AnnealedLangevin(num_levels=4), num_chains=3, num_draws=30)
    assert compilations() == before


def test_a_run_stopped_between_levels_goes_on_to_the_same_draws(key, monkeypatch, tmp_path):
    options = {"num_chains": 3, "num_draws": 30, "checkpoint": tmp_path / "run.npz"}
    whole = run(key, AnnealedLangevin(), num_chains=3, num_draws=30)
    with monkeypatch.context() as patch:
        real, calls = chunks.warm_up, []

        def pressed(*arguments):
            calls.append(1)
            if len(calls) == 4:
                raise KeyboardInterrupt
            return real(*arguments)

        patch.setattr(chunks, "warm_up", pressed)
        assert run(key, AnnealedLangevin(), **options).status == "interrupted"
    np.testing.assert_array_equal(run(key, AnnealedLangevin(), **options).position, whole.position)


def levels_of_a_normal(u, level):
    return -u / (1 + level**2)


def test_a_posterior_goes_down_through_its_priors(make_scene, key):
    known = ScorePrior(
        lambda u: levels_of_a_normal(u, 0.1), (7, 7), 0.1, fn_at_level=levels_of_a_normal, largest_noise_level=5.0
    )  # fmt: skip
    posterior = ss.Posterior(
        *make_scene(galaxies=True), priors={"galaxy_1.image": known}, image=ss.load_gaussian_prior()
    )
    assert posterior.noise_levels == (0.1, 5.0)
    position = posterior.initial_position()
    noisy = posterior.at_noise_level(jnp.asarray(2.0))
    difference = (
        noisy.score_only(position)["galaxy_1.image"] - posterior.score_only(position)["galaxy_1.image"]
    )
    u = position["galaxy_1.image"]
    np.testing.assert_allclose(difference, u / 1.01 - u / 5, rtol=1e-4, atol=1e-5)
    lower = posterior.at_noise_level(jnp.asarray(0.01))  # never less than its own
    np.testing.assert_allclose(
        lower.score(position)["galaxy_1.image"], posterior.score(position)["galaxy_1.image"], rtol=1e-4, atol=1e-3
    )  # fmt: skip
    np.testing.assert_allclose(noisy.explicit(position), posterior.explicit(position), rtol=1e-6)
    draws = ss.sample(
        key,
        posterior,
        AnnealedLangevin(num_levels=3),
        num_chains=2,
        num_warmup=20,
        num_draws=5,
        progress=False,
    )
    assert draws.settings["sampler"]["energy"] == "line_integral"
    assert draws.density is posterior


def test_what_knows_one_level_is_refused(make_scene, key):
    with pytest.raises(ss.ConfigError, match="this density knows one only"):
        run(key, AnnealedLangevin(), ss.Density(score=jnp.negative))
    posterior = ss.Posterior(*make_scene(galaxies=True), image=ss.load_gaussian_prior())
    with pytest.raises(ss.ConfigError, match="goes down noise levels"):
        ss.sample(key, posterior, AnnealedLangevin())
    with pytest.raises(ss.ConfigError, match="this density knows one noise level only"):
        posterior.at_noise_level(jnp.asarray(1.0))
    with pytest.raises(ss.ConfigError, match=r"prior 'gaussian' knows one noise level only, 0\.14"):
        ss.load_gaussian_prior().at_noise_level(jnp.asarray(1.0))
    with pytest.raises(ss.ConfigError, match="largest_noise_level is 0; with fn_at_level it must be above"):
        ScorePrior(jnp.negative, (7, 7), fn_at_level=levels_of_a_normal)


def test_settings_that_cannot_be(key):
    for sampler, message in [
        (AnnealedLangevin(num_levels=1), "num_levels is 1; it must be at least 2"),
        (AnnealedLangevin(share=1.0), "share is 1.0; it must be between 0 and 1"),
        (
            AnnealedLangevin(largest_level=0.1),
            "largest_level is 0.1; it must be above the density's own level, 0.3",
        ),
        (AnnealedLangevin(energy="values"), "energy is 'values'; it must be one of auto"),
    ]:
        with pytest.raises(ss.ConfigError, match=message):
            run(key, sampler)
    with pytest.raises(ss.ConfigError, match="num_warmup, which is 10; give it at least 16 steps"):
        run(key, AnnealedLangevin(), num_warmup=10)

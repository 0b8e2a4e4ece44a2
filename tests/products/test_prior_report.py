"""The report card of a prior, on priors whose figures are known."""

import json

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jaxtyping import Array, Float

from scoresample.cli.show import prior_table
from scoresample.errors import DataError, ScoresampleError
from scoresample.models.energy_network import EnergyNetwork
from scoresample.models.gaussian_prior import load_gaussian_prior
from scoresample.models.learned_prior import LearnedPrior
from scoresample.models.priors import AbstractLogPrior
from scoresample.models.score_prior import ScorePrior
from scoresample.products.prior_report import LEVELS, LIMITS, SIDE, report_prior, verdict_rows
from scoresample.products.prior_report_plots import plot_prior_report


class Ball(AbstractLogPrior):
    """Images of one shape whose brightness and pixels vary, all normal."""

    noise_level: float = eqx.field(static=True, default=0.1)
    brightness: float = eqx.field(static=True, default=1.0)
    name: str = "ball"

    def mean(self, shape) -> Float[Array, "y x"]:
        y, x = (jnp.arange(n) - (n - 1) / 2 for n in shape)
        return 6 * self.brightness * jnp.exp(-0.5 * (y[:, None] ** 2 + x**2) / 16)

    def log_prob(self, value: Float[Array, "y x"]) -> Float[Array, ""]:
        return -0.5 * jnp.sum((value - self.mean(value.shape)) ** 2) / (0.3**2 + self.noise_level**2)

    def sample(self, key, shape, n):
        width = jnp.sqrt(0.3**2 + self.noise_level**2)
        return self.mean(shape) + width * jax.random.normal(key, (n, *shape))


@pytest.fixture(scope="module")
def galaxies():
    rng = np.random.default_rng(5)
    mean = np.asarray(Ball().mean((SIDE, SIDE)))
    return {SIDE: (mean + 0.3 * rng.normal(size=(800, SIDE, SIDE))).astype(np.float32)}


def test_the_right_prior_draws_what_is_there_and_a_wrong_one_does_not(galaxies):
    right = report_prior(Ball(), galaxies, num_draws=400, num_walkers=100, progress=False).figures
    assert right["noise_left"]["32"]["0.1"] == pytest.approx(0.09 / 0.1, rel=0.02)
    assert max(right["draws"]["distances"].values()) < 1.2 * right["draws"]["chance"]
    assert max(right["walk"]["distances"].values()) < 1.2 * right["walk"]["chance"]
    assert right["curl"]["value"] < 1e-6
    wrong = report_prior(
        Ball(brightness=0.7), galaxies, num_draws=400, num_walkers=100, progress=False
    ).figures
    # The mean is off by 0.3 of it, and denoising moves images by a tenth of the way to it.
    moved = np.mean((0.1 * 0.3 * np.asarray(Ball().mean((SIDE, SIDE)))) ** 2) / 0.1**2
    assert wrong["noise_left"]["32"]["0.1"] == pytest.approx(0.9 + moved, rel=0.02)
    assert wrong["draws"]["distances"]["flux"] > 3 * wrong["draws"]["chance"]
    assert wrong["walk"]["distances"]["flux"] > 3 * wrong["walk"]["chance"]
    # Walks of a Normal forget where they began.
    assert right["walk"]["moved"] == pytest.approx(1, abs=0.1)
    assert right["walk"]["acceptance"] > 0.8


def test_a_score_without_a_density_has_no_draws_and_says_its_curl(galaxies):
    twisted = ScorePrior(lambda u: -u / 0.1 + 5 * jnp.roll(u, 1, axis=0), (SIDE, SIDE), noise_level=0.1)
    report = report_prior(twisted, galaxies, progress=False)
    assert "draws" not in report.figures
    assert report.figures["curl"]["value"] > 0.1
    assert list(report.figures["ring"]) == ["0.1"]


def test_a_network_is_measured_at_all_levels_and_pictures_are_written(galaxies, tmp_path):
    network = EnergyNetwork(jax.random.key(0), "residual", (4, 6, 8))
    both = {
        SIDE: galaxies[SIDE][:200],
        12: np.zeros((5, 12, 12), np.float32),
        64: np.zeros((20, 64, 64), np.float32),
    }
    report = report_prior(
        LearnedPrior(network, load_gaussian_prior().tables), both, num_draws=20, num_walkers=8, progress=False
    )
    figures = report.figures
    assert set(figures["noise_left"]) == {"32", "64"}
    assert len(figures["noise_left"]["32"]) == len(LEVELS)
    assert figures["boxes"]["number"] == 20
    assert figures["curl"]["value"] < LIMITS["curl"]
    rows = verdict_rows(figures)
    assert {what for what, _, limit in rows if limit is not None} == set(LIMITS)
    json.dumps(figures)
    written = plot_prior_report(report, tmp_path)
    assert sorted(path.name for path in written) == ["images.png", "noise_levels.png", "statistics.png"]
    assert all(path.stat().st_size > 10_000 for path in written)


def test_too_few_galaxies_are_refused(galaxies):
    with pytest.raises(DataError, match="at least 100 galaxies of 32 pixels a side, and there are 3"):
        report_prior(Ball(), {SIDE: galaxies[SIDE][:3]}, progress=False)


def test_sides_that_a_prior_is_not_for_are_left_out_and_what_was_not_measured_says_so(galaxies):
    own = ScorePrior(lambda u: -u / 0.1, (SIDE, SIDE), noise_level=0.1)
    both = {SIDE: galaxies[SIDE], 64: np.zeros((5, 64, 64), np.float32)}
    figures = report_prior(own, both, progress=False).figures
    assert set(figures["noise_left"]) == {"32"}
    lines = prior_table(figures).splitlines()
    (curl,) = [line for line in lines if line.startswith("curl")]
    (draws,) = [line for line in lines if line.startswith("draws, total flux")]
    assert draws.split()[-4:] == ["-", "0.05", "NOT", "MEASURED"]
    assert curl.endswith("1e-05")


def test_a_row_beyond_its_limit_is_missed(galaxies):
    twisted = ScorePrior(lambda u: -u / 0.1 + 5 * jnp.roll(u, 1, axis=0), (SIDE, SIDE), noise_level=0.1)
    lines = prior_table(report_prior(twisted, galaxies, progress=False).figures).splitlines()
    (curl,) = [line for line in lines if line.startswith("curl")]
    assert curl.endswith("1e-05  MISSED")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"num_draws": 0}, "num_draws is 0"),
        ({"num_walkers": 0}, "num_walkers 0"),
        ({"seed": -1}, "seed -1"),
        ({"prior": Ball(noise_level=0.0)}, "noise_level 0"),
        ({"galaxies": {SIDE: np.full((200, SIDE, SIDE), np.nan, np.float32)}}, "are not finite"),
        ({"galaxies": {SIDE: np.zeros((200, SIDE, 30), np.float32)}}, "needed are images u of shape"),
        ({"prior": ScorePrior(lambda u: -u, (24, 24), noise_level=0.1)}, "is for images of shape"),
    ],
)
def test_bad_input_is_refused(galaxies, change, message):
    given = {"prior": Ball(), "galaxies": galaxies} | change
    with pytest.raises(ScoresampleError, match=message):
        report_prior(**given, progress=False)

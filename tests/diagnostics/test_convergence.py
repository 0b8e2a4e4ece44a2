"""Tables of convergence and verdicts: what is wrong is a reason, never a crash."""

import json
import re

import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pandas as pd
import pytest

from scoresample.data.observation import make_observation
from scoresample.density.base import Density
from scoresample.density.posterior import Posterior
from scoresample.diagnostics.convergence import convergence_table, energy_bfmi, flux_row, unseen_fluxes
from scoresample.diagnostics.verdict import diagnose
from scoresample.models.initialization import gaussian_morphology
from scoresample.models.morphology import PointSource
from scoresample.models.psf import GaussianPSF
from scoresample.models.scene import Scene
from scoresample.models.source import make_source
from scoresample.samplers.base import Draws

NUM_CHAINS, NUM_DRAWS = 4, 400


def normal_density():
    return Density(log_prob=lambda x: -0.5 * jnp.sum(x["a"] ** 2))


@pytest.fixture
def rng(seed_shift):
    return np.random.default_rng(11 + seed_shift)


def plain_draws(rng, num_chains=NUM_CHAINS, num_draws=NUM_DRAWS, **changes):
    """Independent draws of two vectors."""
    shape = (num_chains, num_draws)
    position = {"a": rng.normal(2.0, 3.0, size=(*shape, 2)), "b": {"c": rng.normal(size=shape)}}
    stats = {
        "log_prob": rng.normal(size=shape),
        "energy": rng.normal(size=shape),
        "diverging": np.zeros(shape, bool),
    }
    return Draws(position, {}, stats, "done", {}, normal_density())._replace(**changes)


@pytest.fixture
def scene_draws(rng):
    """Independent draws of a scene of a galaxy and a star; the galaxy has no data in the second band."""
    weights = np.ones((2, 16, 18))
    weights[1, :, :10] = 0
    psf = np.exp(-0.5 * np.sum((np.indices((7, 7)) - 3) ** 2, axis=0) / 1.5**2)
    observation = make_observation(
        np.zeros((2, 16, 18)), weights, [psf / psf.sum()] * 2, ["g", "r"], flux_unit="nJy"
    )
    galaxy = make_source("galaxy_0", gaussian_morphology(7, 1.5), (7, 4), [1.0, 1.0], object_id="17")
    star = make_source("star_1", PointSource(), (8, 14), [1.0, 1.0], box=7, object_id="18")
    scene = Scene(observation.frame, (galaxy, star), jnp.zeros(2), GaussianPSF(0.7))
    posterior = Posterior(scene, observation, image=dist.Normal(0, 1))
    shape = (NUM_CHAINS, NUM_DRAWS)
    position = {
        "galaxy_0.image": rng.normal(size=(*shape, 7, 7)).astype(np.float32),
        "star_1.center": rng.normal(size=(*shape, 2)),
    }
    derived = {"flux": rng.normal(5, 1, size=(*shape, 2, 2)), "background": rng.normal(size=(*shape, 2))}
    stats = {"log_prob": rng.normal(size=shape), "energy": rng.normal(size=shape)}
    return Draws(position, derived, stats, "done", {}, posterior)


def test_every_number_of_a_plain_density_has_a_row(rng):
    draws = plain_draws(rng)
    table = convergence_table(draws)
    assert list(table.index) == ["a[0]", "a[1]", "b.c", "log_prob"]
    first = table.loc["a[0]"]
    values = draws.position["a"][..., 0]
    np.testing.assert_allclose([first["mean"], first["sd"]], [values.mean(), values.std(ddof=1)])
    # independent draws: the error of the mean is sd / sqrt(n), within the noise of the estimated time
    np.testing.assert_allclose(first["mcse_mean"], values.std() / np.sqrt(values.size), rtol=0.25)
    assert 0.997 < first["r_hat"] < 1.01  # at least sqrt(1 - 1 / 200)
    assert first["ess_bulk"] > 1000


def test_independent_draws_converge(rng):
    diagnosis = diagnose(plain_draws(rng))
    assert diagnosis.converged, diagnosis.reasons
    assert "Verdict: converged" in repr(diagnosis)
    assert "a[1]" in repr(diagnosis)
    assert "Verdict: converged" in diagnosis._repr_html_()


def test_units_do_not_matter(rng):
    """Fluxes of 1e-20 in some unit (here a power of two, which rounds nothing) are no constants."""
    draws = plain_draws(rng)
    small = draws._replace(position={"a": draws.position["a"] * 2.0**-66, "b": draws.position["b"]})
    columns = ["r_hat", "ess_bulk", "ess_tail"]
    np.testing.assert_allclose(
        convergence_table(small)[columns].astype(float),
        convergence_table(draws)[columns].astype(float),
        rtol=1e-6,
    )
    np.testing.assert_allclose(
        convergence_table(small).loc["a[0]", "mcse_mean"],
        2.0**-66 * convergence_table(draws).loc["a[0]", "mcse_mean"],
    )


def test_bare_array_position(rng):
    draws = plain_draws(rng, position=rng.normal(size=(NUM_CHAINS, NUM_DRAWS)))
    assert list(convergence_table(draws).index) == ["x", "log_prob"]


def stuck_chain(draws):
    draws.position["a"][0, :, 1] += 5


def slow_chain(draws):
    draws.position["a"][:, :, 0] = np.cumsum(draws.position["a"][:, :, 0], axis=1)


def one_nan(draws):
    draws.position["a"][2, 3, 0] = np.nan


def constant(draws):
    draws.position["b"]["c"][:] = 0.1


def divergence(draws):
    draws.stats["diverging"][1, 5] = True


def little_energy(draws):
    draws.stats["energy"][1] = np.cumsum(draws.stats["energy"][1])


def nan_energy(draws):
    draws.stats["energy"][1, 2] = np.inf


@pytest.mark.parametrize(
    ("spoil", "word"),
    [
        (stuck_chain, "R-hat is .* for a\\[1\\] "),
        (slow_chain, "effective sample size is .* a\\[0\\]"),
        (one_nan, "not finite: a\\[0\\]"),
        (constant, "constant: b.c"),
        (divergence, "1 divergent"),
        (little_energy, "E-BFMI is 0.0"),
        (nan_energy, "E-BFMI cannot"),
    ],
)
def test_each_fault_is_a_reason(rng, spoil, word):
    draws = plain_draws(rng)
    spoil(draws)
    diagnosis = diagnose(draws)
    assert not diagnosis.converged
    assert any(re.search(word, reason) for reason in diagnosis.reasons), diagnosis.reasons
    assert "NOT converged" in repr(diagnosis)


def test_one_chain_is_a_reason(rng):
    diagnosis = diagnose(plain_draws(rng, num_chains=1))
    assert diagnosis.reasons[0].startswith("one chain")


@pytest.mark.parametrize("num_draws", [0, 1, 3])
@pytest.mark.parametrize("num_chains", [1, 3])
def test_too_few_draws_are_a_reason(rng, num_chains, num_draws):
    diagnosis = diagnose(plain_draws(rng, num_chains, num_draws))
    assert any("too few draws" in reason for reason in diagnosis.reasons)
    repr(diagnosis)
    json.dumps(diagnosis.to_dict(), allow_nan=False)


def test_status_is_a_reason(rng):
    diagnosis = diagnose(plain_draws(rng, status="interrupted"))
    assert diagnosis.reasons == ("the run ended with status 'interrupted'",)


def test_a_sampler_without_statistics_can_be_judged(rng):
    diagnosis = diagnose(plain_draws(rng, stats={}))
    assert diagnosis.converged
    assert diagnosis.bfmi.size == 0


def test_thresholds_count(rng):
    draws = plain_draws(rng)
    assert not diagnose(draws, min_ess=1e6).converged
    assert not diagnose(draws, max_rhat=0.9).converged
    assert not diagnose(draws, min_bfmi=3.0).converged
    divergence(draws)
    assert diagnose(draws, max_divergences=1).converged


def test_bfmi_of_independent_energies_is_two(rng):
    """Differences of independent numbers have twice their variance."""
    draws = plain_draws(rng, num_draws=4000)
    # each chain's ratio has a standard deviation of about sqrt(2 / n) * 2 = 0.045
    np.testing.assert_allclose(energy_bfmi(draws), 2.0, atol=0.25)


def test_to_dict_is_json_and_complete(rng):
    draws = plain_draws(rng)
    constant(draws)
    diagnosis = diagnose(draws)
    back = json.loads(json.dumps(diagnosis.to_dict(), allow_nan=False))
    assert back["converged"] is False
    assert back["reasons"] == list(diagnosis.reasons)
    rows = {row["quantity"]: row for row in back["table"]}
    assert rows["b.c"]["r_hat"] is None and rows["b.c"]["problem"] == "constant"
    assert rows["a[0]"]["r_hat"] == diagnosis.table.loc["a[0]", "r_hat"]


def test_long_tables_are_shown_by_their_worst_rows(rng):
    position = rng.normal(size=(NUM_CHAINS, 50, 90))
    position[0, :, 77] += 9
    text = repr(diagnose(plain_draws(rng, num_draws=50, position={"a": position})))
    assert "a[77]" in text and "60 of 91 rows" in text


def test_rows_of_a_scene(scene_draws):
    table = convergence_table(scene_draws)
    assert list(table.index) == [
        "flux[galaxy_0, g]",
        "flux[star_1, g]",
        "flux[star_1, r]",
        "background[g]",
        "background[r]",
        "galaxy_0.image (worst of 49)",
        "star_1.center[y]",
        "star_1.center[x]",
        "log_prob",
    ]
    flux = scene_draws.derived["flux"][:, :, 1, 0]
    assert table.loc[flux_row("star_1", "g"), "mean"] == pytest.approx(flux.mean())
    assert diagnose(scene_draws).converged, diagnose(scene_draws).reasons


def test_an_image_that_samplers_see_as_a_vector_has_one_row_too(scene_draws):
    """As under the prior of profiles, whose coordinate has more numbers than pixels."""
    image = scene_draws.position["galaxy_0.image"]
    flat = image.reshape(*image.shape[:2], -1)
    moved = scene_draws._replace(position=scene_draws.position | {"galaxy_0.image": flat})
    pd.testing.assert_frame_equal(convergence_table(moved), convergence_table(scene_draws))


def test_a_band_without_data_has_no_flux(scene_draws):
    np.testing.assert_array_equal(unseen_fluxes(scene_draws.density), [[False, True], [False, False]])


def test_one_stuck_pixel_is_a_reason(scene_draws):
    scene_draws.position["galaxy_0.image"][0, :, 3, 2] += 4
    diagnosis = diagnose(scene_draws)
    assert len(diagnosis.reasons) == 1
    assert "galaxy_0.image" in diagnosis.reasons[0] and "at most 1.05" in diagnosis.reasons[0]


def test_one_constant_pixel_is_a_reason(scene_draws):
    scene_draws.position["galaxy_0.image"][:, :, 3, 2] = 4
    assert diagnose(scene_draws).reasons == ("constant: galaxy_0.image (worst of 49)",)


def test_a_scene_without_draws_is_a_reason(scene_draws):
    cut = {name: value[:, :0] for name, value in scene_draws.position.items()}
    derived = {name: value[:, :0] for name, value in scene_draws.derived.items()}
    stats = {name: value[:, :0] for name, value in scene_draws.stats.items()}
    diagnosis = diagnose(
        scene_draws._replace(position=cut, derived=derived, stats=stats, status="interrupted")
    )
    assert not diagnosis.converged and len(diagnosis.table) == 9


@pytest.mark.parametrize(
    ("rate", "asked", "noted"), [(0.44, 0.8, True), (0.75, 0.8, False), (0.44, None, False)]
)
def test_steps_that_fit_the_warm_up_alone_are_noted(rng, rate, asked, noted):
    draws = plain_draws(
        rng, settings={"sampler": {"name": "HMC", "target_acceptance": asked}, "num_kept": NUM_DRAWS}
    )
    rates = np.full((NUM_CHAINS, NUM_DRAWS), rate)
    diagnosis = diagnose(draws._replace(stats=draws.stats | {"acceptance_rate": rates}))
    assert diagnosis.converged
    expected = "of the moves 0.44 are accepted, where warm-up asked for 0.8"
    assert any(expected in note for note in diagnosis.notes) == noted

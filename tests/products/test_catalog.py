"""The flux catalog: a row for every object, the right numbers, NaN only with a flag."""

import dataclasses
from types import SimpleNamespace

import astropy.units as u
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from astropy.io.votable.ucd import check_ucd
from astropy.table import vstack

from scoresample.density.base import Density
from scoresample.density.posterior import Posterior
from scoresample.diagnostics.verdict import diagnose
from scoresample.errors import ConfigError, ScoresampleWarning, ShapeError
from scoresample.products.catalog import failed_catalog, flux_catalog, flux_draws
from scoresample.products.columns import flux_ucd
from scoresample.products.pipeline_outputs import tabulate
from scoresample.products.pipeline_settings import RunSettings
from scoresample.samplers.base import Draws

PER_BAND = [
    "flux",
    "fluxErr",
    "flux_p025",
    "flux_p16",
    "flux_p50",
    "flux_p84",
    "flux_p975",
    "varFromNeighbours",
]
COLUMNS = [
    "objectId", "sceneId", "y", "x", "ra", "dec",
    *(f"g_{name}" for name in PER_BAND), *(f"r_{name}" for name in PER_BAND),
    "flux_Cov", "blendedness", "peakOffset", "confidence", "confidenceErr", "lightFromData", "rhatMax", "essMin",
    "nDraws", "status",
    "flag_notConverged", "flag_fluxSplit", "flag_offCenter", "flag_negative", "flag_noData", "flag_edge",
    "flag_noConfidence",
]  # fmt: skip


def test_columns_rows_and_header(draws):
    table = flux_catalog(draws)
    assert table.colnames == COLUMNS
    assert table["objectId"].tolist() == ["17", "18", "19"]
    assert table["sceneId"].tolist() == ["blend"] * 3
    assert table["nDraws"].tolist() == [600] * 3
    assert table["status"].tolist() == ["done"] * 3
    assert table.meta["bands"] == ["g", "r"]
    assert table.meta["objects"] == ["galaxy_0", "galaxy_1", "star_2"]
    assert table.meta["AB_zeropoint"] == 31.4
    assert '"NUTS"' in table.meta["settings"]


def test_numbers_are_those_of_the_draws(draws):
    table = flux_catalog(draws)
    flux = draws.derived["flux"].reshape(-1, 3, 2).astype(float)
    np.testing.assert_allclose(table["r_flux"].value, flux[:, :, 1].mean(axis=0), rtol=1e-6)
    np.testing.assert_allclose(table["r_fluxErr"].value, flux[:, :, 1].std(axis=0, ddof=1), rtol=1e-5)
    np.testing.assert_allclose(table["g_flux_p16"].value, np.quantile(flux[:, :, 0], 0.16, axis=0), rtol=1e-6)
    np.testing.assert_allclose(
        table["g_flux_p975"].value, np.quantile(flux[:, :, 0], 0.975, axis=0), rtol=1e-6
    )
    np.testing.assert_allclose(table["flux_Cov"][2].value, np.cov(flux[:, 2], rowvar=False), rtol=1e-6)
    share = np.corrcoef(flux[:, :, 0], rowvar=False)
    expected = 1 - 1 / np.diag(np.linalg.inv(share))
    np.testing.assert_allclose(table["g_varFromNeighbours"], expected, rtol=1e-4)


def test_close_neighbours_share_more_than_the_distant_star(draws):
    table = flux_catalog(draws)
    assert table["g_varFromNeighbours"][0] > 5 * table["g_varFromNeighbours"][2]
    assert table["blendedness"][0] > 5 * abs(table["blendedness"][2])


def test_units_and_ucds(draws):
    table = flux_catalog(draws)
    assert table["g_flux"].unit == u.nJy and table["flux_Cov"].unit == u.nJy**2
    assert table["ra"].unit == u.deg and table["y"].unit == u.pix
    for name in table.colnames:
        assert check_ucd(table[name].info.meta["ucd"], check_controlled_vocabulary=True), name
        assert table[name].info.description
    assert table["r_flux"].info.meta["ucd"] == "phot.flux.density;em.opt.R"


def test_positions_on_the_sky(draws):
    table = flux_catalog(draws)
    frame = draws.density.observation.frame
    sky = frame.to_sky(np.stack([table["y"].value, table["x"].value], axis=1))
    np.testing.assert_allclose(table["ra"].value, sky.ra.deg)
    np.testing.assert_allclose(table["dec"].value, sky.dec.deg)
    # (y, x) = (9, 8): south and east (negative x scale) of the reference pixel (11.5, 10.5)
    assert table["dec"][0].value == pytest.approx(2.2 - 2.5 * 0.2 / 3600, abs=1e-6)
    assert table["ra"][0].value > 150.1


def test_no_calibration_and_no_wcs(uncalibrated_draws):
    table = flux_catalog(uncalibrated_draws)
    assert table["g_flux"].unit == u.dimensionless_unscaled
    assert "ra" not in table.colnames and "AB_zeropoint" not in table.meta
    assert table["g_flux"].info.meta["ucd"] == "phot.flux;em.opt.B"


LENIENT = {"max_rhat": 1.05, "min_ess": 200.0}  # 600 independent draws reach 1.02 by chance


def test_flags_of_a_good_run(draws):
    """Independent draws pass; the star's box of 11 around (20, 17) reaches over 24 x 22 pixels."""
    diagnosis = diagnose(draws, **LENIENT)
    table = flux_catalog(draws, diagnosis=diagnosis)
    assert not table["flag_notConverged"].any(), diagnosis
    assert table["flag_edge"].tolist() == [False, False, True]
    assert not table["flag_noData"].any()
    assert table["flag_noConfidence"].all() and np.isnan(table["confidence"]).all()
    assert (table["rhatMax"] < 1.05).all() and (table["essMin"] > 200).all()
    assert (table["rhatMax"] > 0.99).all() and (table["essMin"] < 1500).all()


def test_a_split_that_chains_disagree_on_flags_both_objects(draws):
    draws.derived["flux"][0, :, 0, 0] += 200
    table = flux_catalog(draws, diagnosis=diagnose(draws, **LENIENT))
    assert not table["flag_fluxSplit"].any()
    draws.derived["flux"][0, :, 1, 0] -= 200
    table = flux_catalog(draws, diagnosis=diagnose(draws, **LENIENT))
    assert table["flag_fluxSplit"].tolist() == [True, True, False]


def test_light_away_from_the_center_flags_its_object_and_a_run_warns(draws, tmp_path):
    assert not flux_catalog(draws)["flag_offCenter"].any()
    # A knot of S = 11, four pixels from the middle in y and in x.
    draws.position["galaxy_0.image"][..., 9, 9] = 25
    table = flux_catalog(draws)
    assert table["flag_offCenter"].tolist() == [True, False, False]
    assert table["peakOffset"][0].value == pytest.approx(32**0.5) and table["peakOffset"].unit == u.pix
    draws = draws._replace(settings=draws.settings | {"num_kept": 150})
    with pytest.warns(ScoresampleWarning, match=r"the light of 17 \(5.7\) peaks away from the center"):
        tabulate(draws, RunSettings(), tmp_path, None, diagnose(draws, **LENIENT))


def test_fluxes_that_cancel_flag_the_negative_one_and_a_run_warns(draws, tmp_path):
    """As far as images go: the star is in the data twice as negative as it was bright."""
    assert not flux_catalog(draws)["flag_negative"].any()
    posterior = draws.density
    star = posterior.source_images(jax.tree.map(lambda v: jnp.asarray(v[0, 0]), draws.position))[3]
    dark = dataclasses.replace(posterior.observation, images=posterior.observation.images - 3 * star)
    priors = {parameter.name: parameter.prior for parameter in posterior.parameters}
    draws = draws._replace(
        density=Posterior(posterior.scene, dark, priors=priors), settings=draws.settings | {"num_kept": 150}
    )
    assert flux_catalog(draws)["flag_negative"].tolist() == [False, False, True]
    with pytest.warns(ScoresampleWarning, match=r"fluxes of 19 are below zero .* --least-flux -2"):
        tabulate(draws, RunSettings(), tmp_path, None, diagnose(draws, **LENIENT))


def test_one_bad_flux_flags_its_object_alone(draws):
    draws.derived["flux"][0, :, 1, 0] += 200
    table = flux_catalog(draws, diagnosis=diagnose(draws, **LENIENT))
    assert table["flag_notConverged"].tolist() == [False, True, False]
    assert table["rhatMax"][1] > 1.1


def test_a_bad_run_flags_all(draws):
    draws.stats["diverging"][0, 0] = True
    assert flux_catalog(draws)["flag_notConverged"].all()
    lenient = diagnose(draws, max_divergences=5, **LENIENT)
    assert not flux_catalog(draws, diagnosis=lenient)["flag_notConverged"].any()
    table = flux_catalog(draws._replace(status="interrupted"))
    assert table["flag_notConverged"].all() and table["status"].tolist() == ["interrupted"] * 3


def test_a_band_without_data_is_nan_with_a_flag(dark_draws):
    table = flux_catalog(dark_draws)
    assert table["flag_noData"].tolist() == [False, False, True]
    missing = [f"r_{name}" for name in PER_BAND]
    assert all(np.isnan(table[name][2]) for name in missing)
    assert np.isfinite(table["g_flux"][2]) and np.isfinite(table["g_varFromNeighbours"]).all()
    assert np.isfinite(table["r_flux"][:2]).all() and np.isfinite(table["r_varFromNeighbours"][:2]).all()
    np.testing.assert_array_equal(np.isnan(table["flux_Cov"][2].value), [[False, True], [True, True]])
    assert np.isfinite(table["rhatMax"]).all() and np.isfinite(table["essMin"]).all()


def test_nan_only_with_a_flag(draws, dark_draws, cut, failed):
    draws.derived["flux"][1, 3, 0, 1] = np.nan
    for table in (flux_catalog(draws), flux_catalog(dark_draws), flux_catalog(cut(dark_draws, 1)), failed):
        for row in table:
            numbers = [np.ravel(getattr(row[n], "value", row[n])) for n in COLUMNS[2:-8]]
            if not np.isfinite(np.concatenate(numbers)).all():
                assert row["flag_notConverged"] or row["flag_noData"] or row["flag_noConfidence"]
        unexplained = ~(table["flag_notConverged"] | table["flag_noData"])
        for name in set(COLUMNS[2:-8]) - {"confidence", "confidenceErr", "lightFromData"}:
            assert np.isfinite(np.asarray(table[name]))[unexplained].all(), name


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("num_draws", [0, 1, 2, 5])
def test_few_draws_still_give_every_row(dark_draws, cut, num_draws):
    table = flux_catalog(cut(dark_draws, num_draws)._replace(status="interrupted"))
    assert table.colnames == COLUMNS
    assert table["objectId"].tolist() == ["17", "18", "19"]
    assert table["flag_notConverged"].all()
    assert table["nDraws"].tolist() == [4 * num_draws] * 3


def test_confidence_by_name_and_in_order(draws):
    by_name, errors = {"star_2": 3.0, "galaxy_0": 1.0}, {"star_2": 0.5, "galaxy_0": 0.25}
    share = {"star_2": np.nan, "galaxy_0": 0.75}
    given = SimpleNamespace(confidence=by_name, confidence_error=errors, light_from_data=share)
    table = flux_catalog(draws, given)
    np.testing.assert_array_equal(table["lightFromData"], [0.75, np.nan, np.nan])
    np.testing.assert_array_equal(table["confidence"], [1, np.nan, 3])
    np.testing.assert_array_equal(table["confidenceErr"], [0.25, np.nan, 0.5])
    assert table["flag_noConfidence"].tolist() == [False, True, False]
    ordered = jnp.array([1.0, 2.0, 3.0])
    table = flux_catalog(
        draws,
        SimpleNamespace(confidence=ordered, confidence_error=0.1 * ordered, light_from_data=0.2 * ordered),
    )
    np.testing.assert_array_equal(table["confidence"], [1, 2, 3])
    np.testing.assert_allclose(table["confidenceErr"], [0.1, 0.2, 0.3], rtol=1e-6)
    with pytest.raises(ShapeError, match=r"hall.confidence has shape .* each of 3 objects"):
        flux_catalog(draws, SimpleNamespace(confidence=np.ones(2), confidence_error=ordered))


@pytest.fixture
def failed(shared_draws):
    header = shared_draws.density.observation.frame.wcs_header
    return failed_catalog(
        "lost", ["a", "b"], [[3.0, 4.0], [5.0, 6.0]], ["g", "r"], "nJy", "out of memory", wcs_header=header
    )


def test_failed_scenes_have_rows_that_stack_with_the_others(draws, failed):
    table = failed
    assert table.colnames == COLUMNS
    assert table["status"].tolist() == ["out of memory"] * 2
    assert table["flag_notConverged"].all() and np.isnan(table["g_flux"].value).all()
    both = vstack([flux_catalog(draws), table], metadata_conflicts="silent")
    assert len(both) == 5 and both["flux_Cov"].shape == (5, 2, 2)
    assert both["g_flux"].unit == u.nJy
    for name in COLUMNS:
        assert both[name].dtype.kind == table[name].dtype.kind, name


def test_draws_are_joint(draws):
    table = flux_draws(draws, num=50)
    assert table.colnames == ["objectId", "sceneId", "g_flux_draws", "r_flux_draws"]
    assert table["g_flux_draws"].shape == (3, 50) and table["g_flux_draws"].unit == u.nJy
    assert "joint" in table.meta["note"]
    flux = draws.derived["flux"].reshape(-1, 6)
    together = np.stack([table[f"{b}_flux_draws"].value for b in "gr"], axis=2)  # (object, draw, band)
    rows = np.moveaxis(together, 1, 0).reshape(50, 6).astype(flux.dtype)
    found = [np.flatnonzero((flux.astype(np.float32) == row.astype(np.float32)).all(axis=1)) for row in rows]
    assert all(len(indices) == 1 for indices in found)  # each is one draw, all objects and bands together
    assert len({int(indices[0]) for indices in found}) == 50


def test_draws_of_a_dark_band_are_nan_and_none_are_made_up(dark_draws, cut):
    table = flux_draws(dark_draws, num=1000)
    assert table["g_flux_draws"].shape == (3, 200)
    assert (
        np.isnan(table["r_flux_draws"][2].value).all() and np.isfinite(table["r_flux_draws"][:2].value).all()
    )
    assert flux_draws(cut(dark_draws, 0))["g_flux_draws"].shape == (3, 0)


def test_a_plain_density_has_no_catalog():
    density = Density(log_prob=lambda x: jnp.zeros(()))
    plain = Draws(np.zeros((2, 5)), {}, {}, "done", {}, density)
    for make in (flux_catalog, flux_draws):
        with pytest.raises(ConfigError, match="Density, which has no fluxes"):
            make(plain)


@pytest.mark.parametrize(
    ("band", "part"),
    [
        ("g", ";em.opt.B"),
        ("HSC-I2", ";em.opt.I"),
        ("lsst_y", ";em.opt.I"),
        ("Ks", ""),
        ("F814W", ""),
        ("J", ";em.IR.J"),
    ],
)
def test_part_of_the_spectrum(band, part):
    assert flux_ucd(band, u.nJy) == "phot.flux.density" + part

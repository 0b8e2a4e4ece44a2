"""Draws and reports on disk."""

import json

import arviz_stats
import jax.numpy as jnp
import numpy as np
import pytest

from scoresample.density.base import Density
from scoresample.density.posterior import Posterior
from scoresample.errors import ConfigError, FileFormatError
from scoresample.models.log_gaussian_prior import load_log_gaussian_prior
from scoresample.models.profile_prior import load_profile_prior
from scoresample.products.archive import load_draws, save_draws, save_report
from scoresample.products.pipeline_files import read_stored, restore_draws
from scoresample.products.plain import plain
from scoresample.samplers.base import Draws

IMAGES = ["galaxy_0.image", "galaxy_1.image", "galaxy_1_core.image"]


def test_fluxes_settings_and_data_come_back(draws, tmp_path):
    save_draws(tmp_path / "draws.nc", draws)
    tree = load_draws(tmp_path / "draws.nc")
    flux = tree["posterior"]["flux"]
    np.testing.assert_array_equal(flux.sel(object="star_2", band="r"), draws.derived["flux"][:, :, 2, 1])
    np.testing.assert_array_equal(tree["posterior"]["star_2.center"], draws.position["star_2.center"])
    assert tree["sample_stats"]["diverging"].dtype == bool
    np.testing.assert_array_equal(tree["observed_data"]["images"], draws.density.observation.images)
    np.testing.assert_array_equal(tree["constant_data"]["psfs"], draws.density.observation.psfs)
    settings = json.loads(tree.attrs["settings"])
    assert settings == {"sampler": {"name": "NUTS", "step": 0.5}, "num_chains": 4, "lost": None}
    notes = json.loads(tree.attrs["scene"])
    assert notes["bands"] == ["g", "r"] and notes["scene_id"] == "blend"
    assert notes["sources"]["galaxy_1_core"] == {"object": "galaxy_1", "object_id": ""}
    assert notes["wcs"] == draws.density.observation.frame.wcs_header
    assert tree.attrs["status"] == "done" and tree.attrs["flux_unit"] == "nJy"


def test_images_all_thin_or_none(draws, tmp_path):
    sizes = {}
    for images in ("all", "thin", "none"):
        save_draws(tmp_path / images, draws, images=images)
        sizes[images] = (tmp_path / images).stat().st_size
        tree = load_draws(tmp_path / images)
        assert set(IMAGES) <= set(tree["posterior"].data_vars) if images == "all" else True
        assert ("posterior_images" in tree.children) == (images == "thin")
        if images != "all":
            assert not set(IMAGES) & set(tree["posterior"].data_vars)
            assert not [name for name in tree["posterior"].coords if "galaxy" in name]
    assert sizes["none"] < sizes["thin"] < sizes["all"]
    kept = load_draws(tmp_path / "thin")["posterior_images"]["galaxy_0.image"]
    assert kept.dtype == np.float32 and kept["draw"].values.tolist() == list(range(0, 150, 10))
    np.testing.assert_array_equal(kept, draws.position["galaxy_0.image"][:, ::10].astype(np.float32))
    with pytest.raises(ConfigError, match="'some'"):
        save_draws(tmp_path / "x.nc", draws, images="some")


def test_arviz_works_on_what_was_saved(draws, tmp_path):
    save_draws(tmp_path / "draws.nc", draws)
    tree = load_draws(tmp_path / "draws.nc")
    summary = arviz_stats.summary(tree, var_names=["flux"], round_to="none")
    np.testing.assert_allclose(summary["mean"], draws.derived["flux"].mean(axis=(0, 1)).ravel(), rtol=1e-4)


def test_a_plain_density_is_saved_too(tmp_path, seed_shift):
    position = {"a": np.random.default_rng(seed_shift).normal(size=(2, 5, 3, 3))}
    density = Density(log_prob=lambda x: jnp.zeros(()))
    save_draws(tmp_path / "a.nc", Draws(position, {}, {}, "done", {"seed": 3}, density))
    np.testing.assert_array_equal(load_draws(tmp_path / "a.nc")["posterior"]["a"], position["a"])


def test_no_draws_can_be_saved(draws, cut, tmp_path):
    save_draws(tmp_path / "a.nc", cut(draws, 0)._replace(status="interrupted"))
    assert load_draws(tmp_path / "a.nc").attrs["status"] == "interrupted"


def test_a_failure_leaves_the_old_file(draws, tmp_path, monkeypatch):
    path = tmp_path / "draws.nc"
    save_draws(path, draws, images="none")
    before = path.read_bytes()

    def fail(self, where, **options):
        where.write_bytes(b"half")
        raise OSError("disk full")

    monkeypatch.setattr("xarray.DataTree.to_netcdf", fail)
    with pytest.raises(OSError, match="disk full"):
        save_draws(path, draws)
    assert path.read_bytes() == before and len(list(tmp_path.iterdir())) == 1


def test_files_that_cannot_be_read(draws, tmp_path):
    with pytest.raises(FileFormatError, match="no such file"):
        load_draws(tmp_path / "none.nc")
    path = tmp_path / "a.nc"
    path.write_text("nothing of the kind")
    with pytest.raises(FileFormatError, match="not a complete netCDF file"):
        load_draws(path)
    save_draws(path, draws, images="none")
    path.write_bytes(path.read_bytes()[:5000])
    with pytest.raises(FileFormatError, match="not a complete netCDF file"):
        load_draws(path)


def test_reports_are_json_without_nan(tmp_path):
    save_report(
        tmp_path / "out" / "report.json", {"a": np.nan, "b": jnp.arange(2), "c": (np.float32(0.5), True)}
    )
    assert json.loads((tmp_path / "out" / "report.json").read_text()) == {
        "a": None,
        "b": [0, 1],
        "c": [0.5, True],
    }


def test_plain_values():
    value = {
        "x": np.array([1.0, np.inf]),
        3: {"n": None, "p": tmp_like()},
        "i": np.int64(4),
        "b": np.bool_(True),
    }
    assert plain(value) == {"x": [1.0, None], "3": {"n": None, "p": "a name"}, "i": 4, "b": True}


def tmp_like():
    """Something json does not know, that has a text."""
    return type("Named", (), {"__str__": lambda self: "a name"})()


def moved_draws(draws, prior):
    """Return draws under a prior that samplers see in another coordinate, and the settings they go with."""
    posterior = Posterior(draws.density.scene, draws.density.observation, image=prior)
    start = posterior.initial_position()
    rng = np.random.default_rng(2)
    position = {
        name: np.asarray(value + rng.normal(size=(2, 20, *value.shape)), np.float32)
        for name, value in start.items()
    }
    settings = {"input": {"file": "a.npz"}, "run": {}, "num_kept": 20}
    return Draws(position, {}, {}, "done", settings, posterior)


def test_images_are_kept_as_u_whatever_samplers_moved_in(draws, tmp_path):
    """Under the log-gaussian prior they move in the logarithm of the light; what is restored is where they were."""
    moved = moved_draws(draws, load_log_gaussian_prior())
    position, posterior, settings = moved.position, moved.density, moved.settings
    save_draws(tmp_path / "draws.nc", moved, images="all")
    kept = load_draws(tmp_path / "draws.nc")["posterior"]["galaxy_0.image"]
    parameter = next(p for p in posterior.parameters if p.name == "galaxy_0.image")
    seen = parameter.constrain(jnp.asarray(position["galaxy_0.image"][1, 3]))
    np.testing.assert_allclose(kept[1, 3], seen, rtol=1e-5, atol=1e-6)
    assert np.abs(kept[1, 3] - position["galaxy_0.image"][1, 3]).max() > 1
    restored = restore_draws(read_stored(tmp_path / "draws.nc"), posterior, settings["input"], images=True)
    for name, values in position.items():
        np.testing.assert_allclose(restored.position[name], values, rtol=1e-4, atol=2e-3)


def test_images_are_kept_as_u_also_where_samplers_move_in_more_numbers_than_pixels(draws, tmp_path):
    """Under the prior of profiles; what is restored is where they were. Thinned and left out they are as others."""
    moved = moved_draws(draws, load_profile_prior())
    save_draws(tmp_path / "draws.nc", moved, images="all")
    kept = load_draws(tmp_path / "draws.nc")["posterior"]["galaxy_0.image"]
    parameter = next(p for p in moved.density.parameters if p.name == "galaxy_0.image")
    assert kept.shape == (2, 20, *parameter.shape)
    restored = restore_draws(
        read_stored(tmp_path / "draws.nc"), moved.density, moved.settings["input"], images=True
    )
    np.testing.assert_array_equal(restored.position["galaxy_0.image"], moved.position["galaxy_0.image"])
    seen = parameter.constrain(jnp.asarray(moved.position["galaxy_0.image"][1, 3]))
    np.testing.assert_allclose(kept[1, 3], seen, rtol=1e-4, atol=1e-4)
    save_draws(tmp_path / "thin.nc", moved, images="thin")
    thin = load_draws(tmp_path / "thin.nc")
    assert "galaxy_0.image" not in thin["posterior"]
    assert thin["posterior_images"]["galaxy_0.image"].shape == (2, 2, *parameter.shape)
    restored = restore_draws(
        read_stored(tmp_path / "thin.nc"), moved.density, moved.settings["input"], images=True
    )
    expected = np.repeat(moved.position["galaxy_0.image"][:, ::10], 10, axis=1)
    np.testing.assert_array_equal(restored.position["galaxy_0.image"], expected)
    save_draws(tmp_path / "none.nc", moved, images="none")
    assert "image_coordinates" not in load_draws(tmp_path / "none.nc").children

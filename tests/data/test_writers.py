"""Scenes survive a round trip through files, and a failure leaves the old file."""

import jax
import numpy as np
import pytest
from astropy.table import Table

from scoresample.data import writers
from scoresample.data.catalog import make_catalog
from scoresample.data.observation import make_observation
from scoresample.data.readers import read_catalog, read_observation
from scoresample.data.writers import write_scene
from scoresample.errors import FileFormatError, ShapeError


@pytest.fixture
def scene(arrays, wcs_header):
    """An observation with a masked pixel and bands that differ only by case, and a catalog with truth."""
    weights = arrays["weights"].copy()
    weights[0, 2, 3] = 0
    observation = make_observation(
        arrays["images"],
        weights,
        arrays["psfs"],
        ["i", "I"],
        flux_unit="uJy",
        wcs_header=wcs_header,
        name="a.b",
    )
    catalog = make_catalog(
        arrays["centers"], object_id=["s1", "g2"], is_star=[True, False], true_flux=arrays["true_flux"],
        bands=["i", "I"], table=Table({"redshift": [0.0, 1.5]}),
    )  # fmt: skip
    return observation, catalog


@pytest.mark.parametrize("suffix", [".npz", ".fits", ".fits.gz", ".fit"])
def test_round_trip(scene, tmp_path, suffix):
    observation, catalog = scene
    path = tmp_path / f"a.b{suffix}"
    write_scene(path, observation, catalog)
    again, sources = read_observation(path), read_catalog(path)
    assert (again.frame.shape, again.frame.bands, again.frame.flux_unit) == ((24, 20), ("i", "I"), "nJy")
    assert again.name == "a.b"
    for one, other in zip(jax.tree.leaves(observation), jax.tree.leaves(again), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-6)
        assert one.dtype == other.dtype
    here, there = (frame.to_sky(catalog.centers) for frame in (observation.frame, again.frame))
    assert here.separation(there).arcsec.max() < 1e-6
    np.testing.assert_array_equal(sources.centers, catalog.centers)
    np.testing.assert_array_equal(sources.object_id, catalog.object_id)
    np.testing.assert_array_equal(sources.is_star, catalog.is_star)
    np.testing.assert_allclose(sources.true_flux, catalog.true_flux)
    assert list(sources.table["redshift"]) == [0.0, 1.5]
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize("suffix", [".npz", ".fits"])
def test_without_wcs_unit_and_truth(arrays, tmp_path, suffix):
    observation = make_observation(arrays["images"], arrays["weights"], arrays["psfs"], arrays["bands"])
    write_scene(tmp_path / f"s{suffix}", observation, make_catalog(arrays["centers"]))
    again, sources = read_observation(tmp_path / f"s{suffix}"), read_catalog(tmp_path / f"s{suffix}")
    assert (again.frame.wcs_header, again.frame.flux_unit) == (None, "")
    assert (sources.true_flux, sources.table) == (None, None)


def test_a_failure_leaves_the_old_file(scene, tmp_path, monkeypatch):
    path = tmp_path / "s.npz"
    path.write_bytes(b"old")

    def full_disk(file, observation, catalog):
        file.write(b"half")
        raise OSError("no space left")

    monkeypatch.setattr(writers, "_save_npz", full_disk)
    with pytest.raises(OSError, match="no space"):
        write_scene(path, *scene)
    assert path.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["s.npz"]


def test_errors(scene, arrays, tmp_path, one_line_error):
    one_line_error(FileFormatError, lambda: write_scene(tmp_path / "s.h5", *scene), "'.h5'", ".npz")
    catalog = make_catalog(arrays["centers"], true_flux=arrays["true_flux"], bands=["g", "r"])
    one_line_error(ShapeError, lambda: write_scene(tmp_path / "s.npz", scene[0], catalog), "['g', 'r']")

"""Catalogs survive a round trip through every format, and a failure leaves the old file."""

import importlib.util

import astropy.units as u
import numpy as np
import pytest
from astropy.io import fits
from astropy.table import QTable

from scoresample.errors import ConfigError, FileFormatError
from scoresample.products import tables
from scoresample.products.catalog import flux_catalog, flux_draws
from scoresample.products.tables import read_flux_catalog, write_catalog

SUFFIXES = [
    ".fits",
    ".ecsv",
    ".xml",
    ".vot",
    pytest.param(
        ".parquet",
        marks=pytest.mark.skipif(
            importlib.util.find_spec("pyarrow") is None, reason="pyarrow is not installed"
        ),
    ),
]


@pytest.fixture
def table(dark_draws):
    """A catalog with NaN, and a scene name that is not ASCII."""
    table = flux_catalog(dark_draws)
    table["sceneId"][:] = "bl\u00fce"
    return table


def check_equal(found, table):
    assert type(found) is QTable
    assert found.colnames == table.colnames
    assert found.meta == table.meta
    for name in table.colnames:
        a, b = found[name], table[name]
        assert type(a) is type(b), name
        assert (a.shape, a.unit) == (b.shape, b.unit), name
        assert a.dtype == b.dtype or a.dtype.kind == b.dtype.kind == "U", name
        assert a.info.meta == b.info.meta and a.info.description == b.info.description, name
        values = np.asarray(getattr(a, "value", a)), np.asarray(getattr(b, "value", b))
        np.testing.assert_array_equal(*values, err_msg=name)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_round_trip(table, tmp_path, suffix):
    path = tmp_path / f"a.b{suffix}"
    write_catalog(table, path)
    check_equal(read_flux_catalog(path), table)
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_round_trip_without_a_unit(uncalibrated_draws, tmp_path, suffix):
    table = flux_catalog(uncalibrated_draws)
    write_catalog(table, tmp_path / f"c{suffix}")
    found = read_flux_catalog(tmp_path / f"c{suffix}")
    np.testing.assert_array_equal(np.asarray(found["g_flux"]), table["g_flux"].value)
    assert (found["g_flux"].unit or u.dimensionless_unscaled) == u.dimensionless_unscaled


@pytest.mark.parametrize("suffix", SUFFIXES[:3])
def test_draws_round_trip(draws, tmp_path, suffix):
    table = flux_draws(draws, num=20)
    write_catalog(table, tmp_path / f"d{suffix}")
    check_equal(read_flux_catalog(tmp_path / f"d{suffix}"), table)


def test_other_programs_find_units_and_bands_in_fits(table, tmp_path):
    write_catalog(table, tmp_path / "c.fits")
    with fits.open(tmp_path / "c.fits") as hdus:
        assert hdus[1].header["BANDS"] == "g,r"
        assert hdus[1].header["SCENEID"] == "blend"
        assert hdus[1].columns["g_flux"].unit == "nJy"
        assert hdus[1].data["flux_Cov"].shape == (3, 2, 2)


def test_votable_has_the_ucds(table, tmp_path):
    write_catalog(table, tmp_path / "c.xml")
    assert b'ucd="phot.flux.density;em.opt.R"' in (tmp_path / "c.xml").read_bytes()


def test_a_failure_leaves_the_old_file(table, tmp_path, monkeypatch):
    path = tmp_path / "c.fits"
    write_catalog(table, path)
    before = path.read_bytes()

    def fail(*args):
        raise OSError("disk full")

    monkeypatch.setattr(tables, "_with_fits_header", fail)
    with pytest.raises(OSError, match="disk full"):
        write_catalog(table, path)
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["c.fits"]


def test_files_that_cannot_be_read(table, tmp_path):
    with pytest.raises(FileFormatError, match="no such file"):
        read_flux_catalog(tmp_path / "none.fits")
    with pytest.raises(FileFormatError, match=r"unknown suffix '.csv'"):
        write_catalog(table, tmp_path / "c.csv")
    for suffix in (".fits", ".ecsv", ".xml"):
        path = tmp_path / f"c{suffix}"
        write_catalog(table, path)
        path.write_bytes(path.read_bytes()[:700])
        with pytest.raises(FileFormatError, match="not a complete flux catalog") as caught:
            read_flux_catalog(path)
        assert "\n" not in str(caught.value)
    (tmp_path / "c.fits").write_text("nothing of the kind")
    with pytest.raises(FileFormatError):
        read_flux_catalog(tmp_path / "c.fits")


def test_parquet_without_pyarrow_says_so(table, tmp_path, monkeypatch):
    monkeypatch.setattr(tables, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match="needs the package pyarrow"):
        write_catalog(table, tmp_path / "c.parquet")
    assert list(tmp_path.iterdir()) == []

"""Scene files of FITS, good and bad."""

import gzip

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table

from scoresample.data.readers import read_catalog, read_observation
from scoresample.errors import DataError, FileFormatError, ShapeError


def test_scene(write_fits, arrays):
    path = write_fits()
    observation, catalog = read_observation(path), read_catalog(path)
    assert observation.frame.bands == ("g", "r")
    assert observation.frame.flux_unit == "nJy"  # from BUNIT uJy
    np.testing.assert_allclose(observation.images, 1e3 * arrays["images"], rtol=1e-5)
    np.testing.assert_allclose(observation.inverse_variance, 1e-6 * arrays["weights"], rtol=1e-5)
    np.testing.assert_allclose(catalog.centers, arrays["centers"])
    np.testing.assert_allclose(observation.frame.wcs.wcs.crval, [150.1, 2.2])


def test_sky_positions_in_and_out(write_fits, arrays):
    frame = read_observation(write_fits()).frame
    sky = frame.to_sky(arrays["centers"])

    def with_sky(hdus):
        rows = Table({"ra": sky.ra.to("rad"), "dec": sky.dec})
        hdus.all[-1] = fits.BinTableHDU(rows, name="CATALOG")

    catalog = read_catalog(write_fits(with_sky, "sky.fits"))
    np.testing.assert_allclose(catalog.centers, arrays["centers"], atol=1e-6)
    assert frame.to_sky(catalog.centers).separation(sky).arcsec.max() < 1e-6


def test_table_without_images(tmp_path, write_fits, arrays):
    frame = read_observation(write_fits()).frame
    sky = frame.to_sky(arrays["centers"])
    Table({"ra": sky.ra.deg, "dec": sky.dec.deg}).write(tmp_path / "detections.fits")
    catalog = read_catalog(tmp_path / "detections.fits", frame=frame)
    np.testing.assert_allclose(catalog.centers, arrays["centers"], atol=1e-6)


def test_the_key_band_names_a_band(write_fits):
    path = write_fits(lambda hdus: hdus.named["IMAGE_R"].header.set("BAND", "HSC-R"))
    assert read_observation(path).frame.bands == ("g", "HSC-R")


def test_without_the_key_the_extension_does(write_fits):
    path = write_fits(lambda hdus: hdus.named["IMAGE_R"].header.remove("BAND"))
    assert read_observation(path).frame.bands == ("g", "R")  # astropy makes names upper case


def test_mask_planes_of_the_header(write_fits):
    def mask(hdus):
        for name in ("MASK_G", "MASK_R"):
            hdus.named[name].data[2, 3] = 1 << 9
            hdus.named[name].data[4, 5] = 1  # plane 0 is DETECTED in this file
            hdus.named[name].header["MP_SAT"] = 9
            hdus.named[name].header["HIERARCH MP_DETECTED"] = 0

    path = write_fits(mask)
    weights = np.asarray(read_observation(path).inverse_variance)
    np.testing.assert_array_equal(np.argwhere(weights == 0), [[0, 2, 3], [1, 2, 3]])
    weights = np.asarray(read_observation(path, bad_planes=("DETECTED",)).inverse_variance)
    np.testing.assert_array_equal(np.argwhere(weights == 0), [[0, 4, 5], [1, 4, 5]])


def test_a_band_without_mask_has_all_its_pixels(write_fits):
    def mask(hdus):
        hdus.named["MASK_G"].data[2, 3] = 1
        hdus.all.remove(hdus.named["MASK_R"])

    weights = np.asarray(read_observation(write_fits(mask)).inverse_variance)
    np.testing.assert_array_equal(np.argwhere(weights == 0), [[0, 2, 3]])


def test_psfs_of_two_sizes_are_padded_about_their_center(write_fits, arrays):
    def crop(hdus):
        psf = arrays["psfs"][0][1:-1, 1:-1]
        hdus.named["PSF_G"].data = psf / psf.sum()

    psfs = read_observation(write_fits(crop)).psfs
    assert psfs.shape == (2, 11, 11)
    assert np.unravel_index(psfs[0].argmax(), (11, 11)) == (5, 5)


def test_zeropoint_per_band(write_fits, arrays):
    def calibrate(hdus):
        for name, zeropoint in (("IMAGE_G", 31.4), ("IMAGE_R", 28.9)):
            hdus.named[name].header["BUNIT"] = "adu"
            hdus.named[name].header["MAGZERO"] = zeropoint

    images = read_observation(write_fits(calibrate)).images
    np.testing.assert_allclose(images, arrays["images"] * np.array([1, 10])[:, None, None], rtol=1e-5)


def edits():
    """Changes of the file, with the error and the words of its message."""

    def drop(name):
        return lambda hdus: hdus.all.remove(hdus.named[name])

    def header(name, key, value):
        return lambda hdus: hdus.named[name].header.set(key, value)

    def data(name, value):
        return lambda hdus: setattr(hdus.named[name], "data", value)

    return {
        "no variance in a band": (drop("VARIANCE_R"), FileFormatError, ["VARIANCE_"]),
        "no psf": (drop("PSF_G"), FileFormatError, ["PSF_"]),
        "no images": (
            lambda hdus: hdus.all.__delitem__(slice(1, None)),
            FileFormatError,
            ["IMAGE_<band>", "found"],
        ),
        "units": (header("IMAGE_R", "BUNIT", "Jy"), DataError, ["BUNIT", "Jy"]),
        "one zeropoint": (header("IMAGE_R", "MAGZERO", 27.0), FileFormatError, ["zeropoint", "27.0"]),
        "shapes": (data("IMAGE_R", np.ones((3, 3))), ShapeError, ["IMAGE", "(3, 3)", "(24, 20)"]),
        "wcs": (header("IMAGE_G", "CTYPE1", "RA---XXX"), DataError, ["WCS"]),
        "no pixels": (data("IMAGE_R", None), FileFormatError, ["IMAGE_", "no pixels"]),
        "psf sizes": (data("PSF_R", np.ones((4, 4))), ShapeError, ["PSF", "(4, 4)"]),
        "same band": (header("IMAGE_R", "BAND", "g"), DataError, ["'g'", "2 times"]),
        "same extension": (header("PSF_R", "EXTNAME", "PSF_G"), DataError, ["two extensions PSF_G"]),
        "nan": (data("IMAGE_R", np.full((24, 20), np.nan)), DataError, ["480 pixel"]),
    }


@pytest.mark.parametrize("case", edits())
def test_bad_observation(case, write_fits, one_line_error):
    edit, error, words = edits()[case]
    path = write_fits(edit)
    one_line_error(error, lambda: read_observation(path), "blend.fits", *words)


def test_no_table(write_fits, one_line_error):
    path = write_fits(lambda hdus: hdus.all.pop())
    one_line_error(FileFormatError, lambda: read_catalog(path), "blend.fits", "CATALOG")


@pytest.mark.parametrize("part", [0.0, 0.001, 0.3, 0.7, 0.95])
@pytest.mark.parametrize("suffix", [".fits", ".fits.gz"])
def test_truncated(part, suffix, write_fits, tmp_path, one_line_error):
    content = write_fits().read_bytes()
    content = gzip.compress(content) if suffix == ".fits.gz" else content
    path = tmp_path / f"cut{suffix}"
    path.write_bytes(content[: int(part * len(content))])
    one_line_error(FileFormatError, lambda: (read_observation(path), read_catalog(path)), path.name)


def test_not_fits(tmp_path, one_line_error):
    path = tmp_path / "text.fits"
    path.write_text("no FITS file\n" * 1000)
    one_line_error(FileFormatError, lambda: read_observation(path), "text.fits", "cannot be read as FITS")

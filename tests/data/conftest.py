"""A small two-band scene with a WCS, as arrays and as files."""

from types import SimpleNamespace

import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS

BANDS = ("g", "r")
SHAPE = (24, 20)


def gaussian(shape, center, sigma):
    """A Gaussian of sum 1 on a grid of pixels."""
    y, x = np.indices(shape)
    out = np.exp(-((y - center[0]) ** 2 + (x - center[1]) ** 2) / (2 * sigma**2))
    return out / out.sum()


@pytest.fixture
def wcs_header() -> str:
    """A rotated tangential projection of 0.2 arcsec pixels."""
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    wcs.wcs.crval = [150.1, 2.2]
    wcs.wcs.crpix = [10.5, 12.0]
    wcs.wcs.cd = 0.2 / 3600 * np.array([[-np.cos(0.3), np.sin(0.3)], [np.sin(0.3), np.cos(0.3)]])
    wcs.wcs.radesys = "ICRS"
    return wcs.to_header().tostring(sep="\n")


@pytest.fixture
def arrays(seed_shift) -> dict:
    """Keys of a valid npz scene: two bands, two sources, weights."""
    rng = np.random.default_rng(3 + seed_shift)
    centers = np.array([[8.25, 6.5], [15.0, 12.75]])
    flux = np.array([[30.0, 50.0], [80.0, 20.0]])
    sources = np.stack([gaussian(SHAPE, c, 1.6) for c in centers])
    return {
        "images": np.einsum("kb,kyx->byx", flux, sources) + 0.1 * rng.normal(size=(2, *SHAPE)),
        "weights": np.full((2, *SHAPE), 100.0),
        "psfs": np.stack([gaussian((11, 11), (5, 5), 1.6)] * 2),
        "bands": np.array(BANDS),
        "centers": centers,
        "true_flux": flux,
    }


@pytest.fixture
def write_npz(tmp_path, arrays):
    """Write the scene with some keys changed (None takes a key out) and return its path."""

    def write(**changes):
        keys = {k: v for k, v in {**arrays, **changes}.items() if v is not None}
        path = tmp_path / "blend.npz"
        np.savez(path, **keys)
        return path

    return write


@pytest.fixture
def write_fits(tmp_path, arrays, wcs_header):
    """Write the scene as FITS; ``edit(hdus)`` may change the list of extensions first."""

    def write(edit=lambda hdus: None, name="blend.fits"):
        hdus = [fits.PrimaryHDU()]
        for b, band in enumerate(BANDS):
            header = fits.Header.fromstring(wcs_header, sep="\n")
            header["BUNIT"], header["BAND"] = "uJy", band
            hdus.append(fits.ImageHDU(arrays["images"][b], header, name=f"IMAGE_{band}"))
            hdus.append(fits.ImageHDU(1 / arrays["weights"][b], name=f"VARIANCE_{band}"))
            hdus.append(fits.ImageHDU(np.zeros(SHAPE, np.int32), name=f"MASK_{band}"))
            hdus.append(fits.ImageHDU(arrays["psfs"][b], name=f"PSF_{band}"))
        y, x = arrays["centers"].T
        columns = [fits.Column("x", "D", array=x), fits.Column("y", "D", array=y)]
        hdus.append(fits.BinTableHDU.from_columns(columns, name="CATALOG"))
        hdus = SimpleNamespace(all=hdus, named={h.name: h for h in hdus})
        edit(hdus)
        path = tmp_path / name
        fits.HDUList(hdus.all).writeto(path)
        return path

    return write


@pytest.fixture
def one_line_error():
    """Check that a call raises an error of one line that contains all given words."""

    def check(error, call, *words):
        with pytest.raises(error) as caught:
            call()
        message = str(caught.value)
        assert "\n" not in message
        assert [w for w in words if w not in message] == [], message
        return message

    return check

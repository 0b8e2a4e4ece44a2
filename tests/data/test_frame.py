"""Sky and pixels."""

import astropy.units as u
import jax
import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.wcs import WCS

from scoresample.data.frame import Frame, as_centers, parse_wcs, wcs_text
from scoresample.errors import DataError, ShapeError

CENTERS = np.array([[0.0, 0.0], [11.25, 7.5], [23.0, 19.0]])


def test_pixel_to_sky_and_back(wcs_header):
    frame = Frame((24, 20), ("g",), "nJy", wcs_header)
    back = frame.to_pixel(frame.to_sky(CENTERS))
    assert back.dtype == np.float64
    np.testing.assert_allclose(back, CENTERS, atol=1e-7)


def test_first_pixel_is_zero_and_order_is_y_x(wcs_header):
    """FITS counts from 1 and says x first: CRPIX (10.5, 12) is (y, x) = (11, 9.5) here."""
    frame = Frame((24, 20), ("g",), "", wcs_header)
    sky = frame.to_sky([[11.0, 9.5]])
    np.testing.assert_allclose([sky.ra.deg[0], sky.dec.deg[0]], [150.1, 2.2], atol=1e-12)


def test_sky_in_another_frame_lands_on_the_same_pixel(wcs_header):
    frame = Frame((24, 20), ("g",), "", wcs_header)
    np.testing.assert_allclose(frame.to_pixel(frame.to_sky(CENTERS).galactic), CENTERS, atol=1e-6)


def test_a_single_position_is_one_row(wcs_header):
    frame = Frame((24, 20), ("g",), "", wcs_header)
    assert frame.to_pixel(SkyCoord(150.1 * u.deg, 2.2 * u.deg)).shape == (1, 2)


def test_header_of_80_character_cards_reads_the_same(wcs_header):
    cards = fits.Header.fromstring(wcs_header, sep="\n").tostring()
    np.testing.assert_allclose(parse_wcs(cards).wcs.crval, [150.1, 2.2])


def test_wcs_of_a_cube_is_its_celestial_part(wcs_header):
    cube = WCS(naxis=3)
    cube.wcs.ctype = ["RA---TAN", "DEC--TAN", "WAVE"]
    text = wcs_text(cube.to_header())
    assert text is not None
    assert parse_wcs(text).naxis == 2


def test_header_without_wcs_has_none():
    assert wcs_text(fits.Header([("BUNIT", "nJy")])) is None


def test_frame_without_wcs_says_what_to_do(one_line_error):
    frame = Frame((24, 20), ("g",))
    one_line_error(DataError, lambda: frame.to_sky(CENTERS), "without a WCS", "wcs_header")


@pytest.mark.parametrize("text", ["", "nonsense", "CTYPE1  = 'LINEAR'"])
def test_text_without_celestial_wcs_is_an_error(text, one_line_error):
    one_line_error(DataError, lambda: parse_wcs(text), "WCS")


def test_a_wcs_without_area_is_an_error(wcs_header, one_line_error):
    header = fits.Header.fromstring(wcs_header, sep="\n")
    for key in ("PC1_1", "PC1_2", "PC2_1", "PC2_2"):
        header[key] = 1.0
    text = header.tostring(sep="\n", endcard=False, padding=False)
    one_line_error(DataError, lambda: parse_wcs(text), "no area")


@pytest.mark.parametrize("centers", [[1.0, 2.0], [[1.0, 2.0, 3.0]]])
def test_centers_of_wrong_shape(centers, one_line_error):
    one_line_error(ShapeError, lambda: as_centers(centers), "(source, 2)")


def test_a_frame_is_static_for_jax(wcs_header):
    frame = Frame((24, 20), ("g",), "nJy", wcs_header)
    assert jax.tree.leaves(frame) == []
    assert frame == Frame((24, 20), ("g",), "nJy", wcs_header)
    assert hash(frame) == hash(Frame((24, 20), ("g",), "nJy", wcs_header))

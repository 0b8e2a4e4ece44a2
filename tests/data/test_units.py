"""Calibration of pixel values."""

import numpy as np
import pytest

from scoresample.data.units import flux_scale, unit_scale
from scoresample.errors import DataError, ScoresampleWarning, ShapeError


@pytest.mark.parametrize(
    ("text", "factor", "unit"),
    [("nJy", 1, "nJy"), ("uJy", 1e3, "nJy"), ("Jy", 1e9, "nJy"), ("nmgy", 3630.78, "nJy"), ("adu", 1, "adu"),
     ("ADU", 1, "adu"), ("", 1, ""), ("electron / s", 1, "electron / s")],
)  # fmt: skip
def test_units(text, factor, unit):
    got, name = unit_scale(text)
    assert name == unit
    assert got == pytest.approx(factor, rel=1e-5)


def test_an_unknown_unit_is_told():
    with pytest.warns(ScoresampleWarning, match="'sparkles'"):
        assert unit_scale("sparkles") == (1.0, "")


def test_zeropoint_is_the_magnitude_of_one_pixel_unit():
    scale, unit = flux_scale(["g", "r"], [31.4, 27.0])
    assert unit == "nJy"
    np.testing.assert_allclose(scale, [1, 10 ** (4.4 / 2.5)])


def test_scalar_zeropoint_serves_all_bands():
    np.testing.assert_allclose(flux_scale(["g", "r"], np.array(31.4))[0], [1, 1])


def test_zeropoint_calibrates_counts():
    assert flux_scale(["g"], 27.0, "adu")[1] == "nJy"


def test_zeropoint_and_unit_that_agree():
    np.testing.assert_allclose(flux_scale(["g"], 23.9, "uJy")[0], 1000, rtol=1e-3)


def test_errors(one_line_error):
    one_line_error(ShapeError, lambda: flux_scale(["g"], [1.0, 2.0]), "(2,)", "1 bands")
    one_line_error(DataError, lambda: flux_scale(["g"], np.nan), "nan")
    one_line_error(DataError, lambda: flux_scale(["g"], -1e9), "AB magnitudes")
    one_line_error(DataError, lambda: flux_scale(["g"], 27.0, "nJy"), "27.0", "nJy", "disagree")

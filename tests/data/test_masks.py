"""Mask planes."""

import numpy as np
import pytest

from scoresample.data.masks import LSST_PLANES, bad_pixels
from scoresample.data.readers import read_observation
from scoresample.errors import DataError


def planes(*bits):
    """A mask of one band whose pixels have one bit each."""
    return np.array([[[1 << bit for bit in bits]]], np.int32)


def test_default_planes():
    bad = bad_pixels(planes(0, 1, 2, 3, 4, 5, 6, 7, 8), ["g"])
    np.testing.assert_array_equal(np.flatnonzero(bad), [0, 1, 4, 8])


def test_named_planes_and_bits_replace_the_default():
    mask = planes(0, 3, 5, 12)
    np.testing.assert_array_equal(
        bad_pixels(mask, ["g"], bad_planes=("cr", 12)), [[[False, True, False, True]]]
    )
    np.testing.assert_array_equal(bad_pixels(mask, ["g"], bad_planes="CR"), [[[False, True, False, False]]])
    assert not bad_pixels(mask, ["g"], bad_planes=()).any()


def test_the_file_says_which_bit_is_which():
    np.testing.assert_array_equal(bad_pixels(planes(0, 9), ["g"], planes={"SAT": 9}), [[[False, True]]])


def test_boolean_mask_is_taken_as_it_is():
    mask = np.array([[[True, False]]])
    np.testing.assert_array_equal(bad_pixels(mask, ["g"], bad_planes=("SAT",)), mask)


def test_errors(one_line_error):
    one_line_error(DataError, lambda: bad_pixels(planes(0, 0), ["g"]), "no pixel", "'g'", "bad_planes")
    one_line_error(DataError, lambda: bad_pixels(planes(0, 3), ["g"], bad_planes=["DUST"]), "'DUST'", "SAT")
    one_line_error(DataError, lambda: bad_pixels(np.zeros((1, 2, 2)), ["g"]), "float64", "integer")


def test_detected_pixels_of_a_real_scene_count(shared_data):
    path = shared_data / "hsc_cosmos_35.npz"
    mask = np.load(path)["mask"]
    assert ((mask >> LSST_PLANES["DETECTED"]) & 1).mean() > 0.5
    weights = np.asarray(read_observation(path).inverse_variance)
    np.testing.assert_array_equal(weights > 0, (mask & 0b100010011) == 0)
    cosmic = np.asarray(read_observation(path, bad_planes=("CR",)).inverse_variance)
    np.testing.assert_array_equal(cosmic > 0, (mask & 0b1000) == 0)
    assert (cosmic == 0).any()


def test_masking_detected_pixels_is_possible_but_told_when_nothing_is_left(one_line_error):
    mask = np.full((1, 4, 4), 32, np.int32)
    one_line_error(DataError, lambda: bad_pixels(mask, ["g"], bad_planes=("DETECTED",)), "[5]", "no pixel")


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.uint32, np.int64])
def test_any_integer_type(dtype):
    assert bad_pixels(np.array([[[1, 0]]], dtype), ["g"]).sum() == 1

"""Observations from arrays: conversion and checks."""

import astropy.units as u
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from scoresample.data.observation import make_observation
from scoresample.errors import DataError, ScoresampleWarning, ShapeError


@pytest.fixture
def make(arrays):
    """Make an observation of the scene with some arguments changed."""

    def call(**changes):
        inputs = {k: arrays[k] for k in ("images", "psfs", "bands")} | {"inverse_variance": arrays["weights"]}
        return make_observation(**{**inputs, **changes})

    return call


def test_arrays_have_the_float_type_of_jax(make):
    observation = make()
    expected = jnp.zeros(()).dtype
    leaves = jax.tree.leaves(observation)
    assert [leaf.dtype for leaf in leaves] == [expected] * 3
    assert observation.frame.shape == (24, 20)
    assert observation.frame.bands == ("g", "r")
    assert not observation.noise_estimated


def test_lists_and_jax_arrays_are_accepted(make, arrays):
    observation = make(images=jnp.asarray(arrays["images"]), psfs=arrays["psfs"].tolist(), bands="gr")
    np.testing.assert_allclose(observation.images, arrays["images"], rtol=1e-6)


def test_quantity_becomes_njy_and_keeps_its_significance(make, arrays):
    plain = make()
    converted = make(images=arrays["images"] * u.uJy)
    assert converted.frame.flux_unit == "nJy"
    np.testing.assert_allclose(converted.images, 1e3 * plain.images, rtol=1e-5)
    significance = lambda o: o.images * jnp.sqrt(o.inverse_variance)
    np.testing.assert_allclose(significance(converted), significance(plain), rtol=1e-5)


def test_inverse_variance_may_have_another_unit(make, arrays):
    weights = arrays["weights"] / u.uJy**2
    observation = make(images=1e3 * arrays["images"] * u.nJy, inverse_variance=weights)
    np.testing.assert_allclose(observation.inverse_variance, 1e-6 * arrays["weights"], rtol=1e-5)


def test_unit_text_that_is_no_flux_density_stays(make):
    assert make(flux_unit="adu").frame.flux_unit == "adu"


def test_pixels_without_weight_may_be_nan_and_become_zero(make, arrays):
    images, weights = arrays["images"].copy(), arrays["weights"].copy()
    images[1, 2, 3], weights[1, 2, 3] = np.nan, 0
    observation = make(images=images, inverse_variance=weights)
    assert observation.images[1, 2, 3] == 0
    assert observation.inverse_variance[1, 2, 3] == 0


def test_psf_that_is_not_normalized_is_normalized_and_told(make, arrays):
    with pytest.warns(ScoresampleWarning, match=r"'r': 2\.0"):
        observation = make(psfs=arrays["psfs"] * np.array([1, 2])[:, None, None])
    np.testing.assert_allclose(observation.psfs.sum(axis=(1, 2)), 1, rtol=1e-5)


def test_psf_within_a_thousandth_is_normalized_in_silence(make, arrays):
    np.testing.assert_allclose(make(psfs=1.0005 * arrays["psfs"]).psfs.sum(axis=(1, 2)), 1, rtol=1e-5)


@pytest.mark.parametrize("shape", [(10, 10), (41, 61), (1, 1)])
def test_psf_of_any_size(make, shape):
    assert make(psfs=np.full((2, *shape), 1 / np.prod(shape))).psfs.shape == (2, *shape)


def changed(array, index, value):
    """A copy with one value changed."""
    out = np.array(array, float)
    out[index] = value
    return out


BAD = {
    "two axes": (lambda a: {"images": a["images"][0]}, ShapeError, ["(24, 20)", "images[None]"]),
    "bands": (lambda a: {"bands": ["g"]}, ShapeError, ["(2, 24, 20)", "1 bands"]),
    "psf bands": (lambda a: {"psfs": a["psfs"][:1]}, ShapeError, ["psfs", "(1, 11, 11)"]),
    "weight shape": (
        lambda a: {"inverse_variance": a["weights"][:, 1:]},
        ShapeError,
        ["(2, 23, 20)", "(2, 24, 20)"],
    ),
    "no pixels": (
        lambda a: {"images": np.zeros((2, 0, 5)), "inverse_variance": np.zeros((2, 0, 5))},
        ShapeError,
        ["no pixel"],
    ),
    "nan": (
        lambda a: {"images": changed(a["images"], (1, 2, 3), np.nan)},
        DataError,
        ["1 pixel", "'r'", "(2, 3)"],
    ),
    "inf": (
        lambda a: {"images": changed(a["images"], (0, 4), np.inf)},
        DataError,
        ["20 pixel", "'g'", "(4, 0)"],
    ),
    "masked array": (
        lambda a: {"images": np.ma.masked_greater(a["images"], 1.0)},
        DataError,
        ["not finite", "weight 0"],
    ),
    "negative weight": (
        lambda a: {"inverse_variance": changed(a["weights"], (0, 1, 2), -1)},
        DataError,
        ["negative", "'g'", "(1, 2)"],
    ),
    "nan weight": (
        lambda a: {"inverse_variance": changed(a["weights"], (0, 0, 0), np.nan)},
        DataError,
        ["not finite"],
    ),
    "no weight": (lambda a: {"inverse_variance": changed(a["weights"], 1, 0)}, DataError, ["zero", "['r']"]),
    "empty psf": (lambda a: {"psfs": np.zeros((2, 0, 0))}, DataError, ["PSF", "empty"]),
    "nan psf": (
        lambda a: {"psfs": changed(a["psfs"], (1, 0, 0), np.nan)},
        DataError,
        ["PSF", "'r'", "finite"],
    ),
    "negative psf": (lambda a: {"psfs": -a["psfs"]}, DataError, ["PSF", "'g'", "-1"]),
    "zero psf": (lambda a: {"psfs": 0 * a["psfs"]}, DataError, ["PSF", "positive sum"]),
    "band twice": (lambda a: {"bands": ["g", "g"]}, DataError, ["'g'", "2 times"]),
    "band without name": (lambda a: {"bands": ["g", " "]}, DataError, ["empty"]),
    "text": (lambda a: {"images": np.full((2, 24, 20), "a")}, DataError, ["images", "real"]),
    "complex": (lambda a: {"images": a["images"] + 1j}, DataError, ["complex128"]),
    "ragged": (lambda a: {"images": [[1.0], [1.0, 2.0]]}, DataError, ["images"]),
    "wcs": (lambda a: {"wcs_header": "nothing"}, DataError, ["WCS"]),
    "unit of weights": (
        lambda a: {"images": a["images"] * u.nJy, "inverse_variance": a["weights"] / u.nJy},
        DataError,
        ["power -2"],
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input(case, arrays, make, one_line_error):
    change, error, words = BAD[case]
    one_line_error(error, lambda: make(**change(arrays)), *words)


def test_values_that_single_precision_cannot_hold(make, arrays, one_line_error):
    tiny = lambda: make(images=1e-30 * arrays["images"], inverse_variance=1e60 * arrays["weights"])
    if jax.config.jax_enable_x64:
        assert np.isfinite(tiny().inverse_variance).all()
    else:
        one_line_error(DataError, tiny, "inverse_variance", "float32", "flux unit")

"""Catalogs from arrays and sky positions, and their fit to an observation."""

import equinox as eqx
import jax.numpy as jnp
import numpy as np
import pytest
from astropy.table import Table

from scoresample.data.catalog import Catalog, check_catalog, make_catalog
from scoresample.data.frame import Frame
from scoresample.data.observation import make_observation
from scoresample.errors import DataError, ScoresampleWarning, ShapeError

CENTERS = [[8.25, 6.5], [15.0, 12.75]]


def test_defaults():
    catalog = make_catalog(CENTERS)
    assert catalog.centers.dtype == np.float64
    assert list(catalog.object_id) == ["0", "1"]
    assert not catalog.is_star.any()
    assert catalog.true_flux is None
    assert catalog.components == (("0",), ("1",))
    assert len(catalog) == 2


def test_sky_positions_come_in(wcs_header):
    frame = Frame((24, 20), ("g",), "nJy", wcs_header)
    catalog = Catalog.from_sky(frame.to_sky(CENTERS), frame, object_id=["a", "b"])
    np.testing.assert_allclose(catalog.centers, CENTERS, atol=1e-7)
    assert list(catalog.object_id) == ["a", "b"]


BAD = {
    "none": (lambda: make_catalog([]), DataError, ["no sources"]),
    "none, two columns": (lambda: make_catalog(np.zeros((0, 2))), DataError, ["no sources"]),
    "shape": (lambda: make_catalog([1.0, 2.0]), ShapeError, ["(2,)", "[[y, x]]"]),
    "nan": (lambda: make_catalog([[1.0, 2.0], [np.nan, 3.0]]), DataError, ["source 1", "nan"]),
    "complex": (lambda: make_catalog(np.array([[1j, 2.0]])), DataError, ["complex"]),
    "text": (lambda: make_catalog([["a", "b"]]), DataError, ["numbers"]),
    "ids": (lambda: make_catalog(CENTERS, object_id=["a"]), ShapeError, ["object_id", "1", "2"]),
    "same id": (lambda: make_catalog(CENTERS, object_id=["a", "a"]), DataError, ["object id 'a'", "2 times"]),
    "stars": (lambda: make_catalog(CENTERS, is_star=[True]), ShapeError, ["is_star"]),
    "table": (lambda: make_catalog(CENTERS, table=Table({"z": [1.0]})), ShapeError, ["table"]),
    "flux": (
        lambda: make_catalog(CENTERS, true_flux=[[1.0], [2.0]], bands="gr"),
        ShapeError,
        ["(2, 1)", "(2, 2)"],
    ),
    "flux nan": (
        lambda: make_catalog(CENTERS, true_flux=[[1.0], [np.nan]], bands="g"),
        DataError,
        ["true_flux"],
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input(case, one_line_error):
    call, error, words = BAD[case]
    one_line_error(error, call, *words)


@pytest.fixture
def observation(arrays):
    """The scene; pixel (3, 4) has no data, pixel (3, 5) has data in one band."""
    weights = arrays["weights"].copy()
    weights[:, 3, 4] = 0
    weights[0, 3, 5] = 0
    return make_observation(arrays["images"], weights, arrays["psfs"], arrays["bands"])


@pytest.mark.filterwarnings("ignore:.*masked in some bands")
@pytest.mark.parametrize("center", [(-0.5, -0.5), (23.49, 19.49), (3.0, 5.0), (3.0, 4.6)])
def test_centers_on_the_image(center, observation):
    check_catalog(make_catalog([center]), observation)


@pytest.mark.parametrize("center", [(-0.51, 4.0), (4.0, 19.5), (23.5, 4.0), (4.0, -0.6)])
def test_center_outside(center, observation, one_line_error):
    catalog = make_catalog([[3, 3], center], object_id=["a", "b"])
    one_line_error(
        DataError, lambda: check_catalog(catalog, observation), "'b'", "outside", "24 x 20", "(y, x)"
    )


def test_swapped_centers_are_seen(observation, one_line_error):
    one_line_error(
        DataError, lambda: check_catalog(make_catalog([[2.0, 22.0]]), observation), "(2.00, 22.00)"
    )


def test_a_center_masked_in_one_band_is_told(observation):
    weights = observation.inverse_variance.at[1, 10, 8].set(0)
    partly = eqx.tree_at(lambda o: o.inverse_variance, observation, weights)
    with pytest.warns(
        ScoresampleWarning, match=r"have their central pixel masked in some bands \('0' in r\)"
    ):
        check_catalog(make_catalog([(10.0, 8.0)]), partly)


@pytest.mark.parametrize("center", [(3.0, 4.0), (2.6, 4.4)])
def test_center_on_a_masked_pixel(center, observation, one_line_error):
    one_line_error(DataError, lambda: check_catalog(make_catalog([center]), observation), "masked", "all")


def test_a_source_that_masks_hide_as_a_whole_stays_and_is_told(observation, one_line_error):
    y, x = np.indices(observation.frame.shape)
    catalog = make_catalog([[12.0, 10.0], [1.0, 1.0]])

    def masked(radius):
        weights = jnp.where(np.hypot(y - 12, x - 10) < radius, 0, observation.inverse_variance)
        return eqx.tree_at(lambda o: o.inverse_variance, observation, weights)

    with pytest.warns(
        ScoresampleWarning, match=r"1 source\(s\) are left without data by masks \('0'\).*the prior alone"
    ):
        check_catalog(catalog, masked(12))
    one_line_error(DataError, lambda: check_catalog(catalog, masked(2)), "'0'", "masked", "mask less")

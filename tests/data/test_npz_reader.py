"""Scene files of numpy, good and bad."""

import numpy as np
import pytest

from scoresample.data.readers import read_catalog, read_observation
from scoresample.errors import DataError, FileFormatError, ScoresampleWarning, ShapeError


def test_scene(write_npz, arrays):
    observation, catalog = read_observation(write_npz()), read_catalog(write_npz())
    np.testing.assert_allclose(observation.images, arrays["images"], rtol=1e-6)
    assert observation.name == "blend"
    assert observation.frame.flux_unit == ""
    np.testing.assert_array_equal(catalog.centers, arrays["centers"])
    np.testing.assert_array_equal(catalog.true_flux, arrays["true_flux"])
    assert catalog.bands == ("g", "r")


def test_scene_id_can_be_given(write_npz):
    assert read_observation(write_npz(), name="field 7").name == "field 7"


@pytest.mark.parametrize("key", ["ivar", "inverse_variance"])
def test_other_names_for_weights(write_npz, arrays, key):
    observation = read_observation(write_npz(weights=None, **{key: arrays["weights"]}))
    np.testing.assert_allclose(observation.inverse_variance, 100)


def test_variance_filters_and_mask(write_npz, arrays):
    mask = np.zeros(arrays["images"].shape, np.int32)
    mask[0, 0, 0], mask[1, 5, 5] = 1, 32  # BAD, DETECTED
    variance = np.full(mask.shape, 0.25)
    variance[0, 0, 0] = np.nan
    path = write_npz(weights=None, bands=None, filters=arrays["bands"], variance=variance, mask=mask)
    weights = np.array(read_observation(path).inverse_variance)
    assert weights[0, 0, 0] == 0
    weights[0, 0, 0] = 4
    np.testing.assert_allclose(weights, 4)


def test_mask_applies_to_weights_too(write_npz, arrays):
    mask = arrays["images"] > 3.0
    weights = read_observation(write_npz(mask=mask)).inverse_variance
    np.testing.assert_array_equal(np.asarray(weights) == 0, mask)


def test_zeropoint_scales_pixels_weights_and_truth(write_npz, arrays):
    path = write_npz(zeropoint=np.array([31.4, 28.9]))
    observation, catalog = read_observation(path), read_catalog(path)
    assert observation.frame.flux_unit == "nJy"
    np.testing.assert_allclose(observation.images[1], 10 * arrays["images"][1], rtol=1e-5)
    np.testing.assert_allclose(observation.inverse_variance[1], 1, rtol=1e-5)
    np.testing.assert_allclose(catalog.true_flux, arrays["true_flux"] * [1, 10])


def test_structured_catalog_with_sky_positions_bytes_and_truth(write_npz, arrays, wcs_header):
    frame = read_observation(write_npz(wcs=wcs_header)).frame
    sky = frame.to_sky(arrays["centers"])
    stamps = np.stack([np.full((4, 5), 2.0), np.full((4, 5), 3.0)])
    fields = [("ra", float), ("dec", float), ("id", "S4"), ("is_star", bool), ("z", float)]
    fields += [("intensity_g", float, (4, 5)), ("intensity_r", float, (4, 5))]
    rows = np.zeros(2, fields)
    rows["ra"], rows["dec"], rows["id"] = sky.ra.deg, sky.dec.deg, [b"a", b"b"]
    rows["is_star"], rows["z"], rows["intensity_g"], rows["intensity_r"] = (
        [True, False],
        [0, 1],
        stamps,
        stamps,
    )
    catalog = read_catalog(write_npz(centers=None, true_flux=None, catalog=rows, wcs=wcs_header))
    np.testing.assert_allclose(catalog.centers, arrays["centers"], atol=1e-6)
    assert list(catalog.object_id) == ["a", "b"]
    assert list(catalog.is_star) == [True, False]
    np.testing.assert_allclose(catalog.true_flux, [[40, 40], [60, 60]])
    assert catalog.table.colnames == ["z"]


def test_sky_positions_take_the_frame_of_the_observation(write_npz, arrays, wcs_header, one_line_error):
    frame = read_observation(write_npz(wcs=wcs_header)).frame
    sky = frame.to_sky(arrays["centers"])
    rows = np.array(list(zip(sky.ra.deg, sky.dec.deg, strict=True)), [("ra", float), ("dec", float)])
    path = write_npz(centers=None, catalog=rows)
    np.testing.assert_allclose(read_catalog(path, frame=frame).centers, arrays["centers"], atol=1e-6)
    one_line_error(FileFormatError, lambda: read_catalog(path), "blend.npz", "no WCS", "frame")


def test_rows_at_one_position_are_one_object(write_npz):
    rows = np.zeros(4, [("x", float), ("y", float), ("index", int), ("is_star", bool)])
    rows["x"], rows["y"], rows["index"] = [5, 9, 5 + 5e-7, 5.00001], [6, 3, 6, 6], [7, 8, 9, 10]
    rows["is_star"] = [True, True, False, False]
    path = write_npz(centers=None, catalog=rows, true_flux=np.arange(8.0).reshape(4, 2))
    with pytest.warns(ScoresampleWarning, match=r"4 catalog rows are 3 objects.*7\+9"):
        catalog = read_catalog(path)
    assert list(catalog.object_id) == ["7", "8", "10"]
    assert catalog.components == (("7", "9"), ("8",), ("10",))
    assert list(catalog.is_star) == [False, True, False]
    np.testing.assert_array_equal(catalog.true_flux, [[4, 6], [2, 3], [6, 7]])


def test_components_of_the_simulated_scene(shared_data):
    with pytest.warns(ScoresampleWarning, match="7 catalog rows are 5 objects"):
        catalog = read_catalog(shared_data / "psf_unmatched_sim.npz")
    assert list(catalog.is_star) == [False, True, True, True, False]
    raw = np.load(shared_data / "psf_unmatched_sim.npz")["catalog"]
    np.testing.assert_allclose(catalog.true_flux[0, 0], raw["intensity_u"][:2].sum(), rtol=1e-5)


SHAPE = (2, 24, 20)
BAD = {
    "images": ({"images": None}, FileFormatError, ["'images'", "psfs", "weights"]),
    "psfs": ({"psfs": None}, FileFormatError, ["'psfs'", "found"]),
    "bands": ({"bands": None}, FileFormatError, ["'filters'"]),
    "mask shape": ({"mask": np.zeros((2, 3, 3), bool)}, ShapeError, ["mask", "(2, 3, 3)"]),
    "mask of everything": ({"mask": np.full(SHAPE, 17)}, DataError, ["[0, 1, 4, 8]", "no pixel"]),
    "zero variance": (
        {"weights": None, "variance": np.zeros(SHAPE)},
        DataError,
        ["variance", "960 pixel", "mask"],
    ),
    "nan variance": ({"weights": None, "variance": np.full(SHAPE, np.nan)}, DataError, ["variance"]),
    "weights of zero": ({"weights": np.zeros(SHAPE)}, DataError, ["zero", "['g', 'r']"]),
    "objects": ({"images": np.array([None])}, FileFormatError, ["cannot be read", "plain arrays"]),
    "zeropoint": ({"zeropoint": np.ones(3)}, ShapeError, ["zeropoint", "(3,)"]),
    "zeropoint text": ({"zeropoint": "AB"}, DataError, ["zeropoint", "real numbers"]),
    "planes of one axis": (
        {"mask_planes": np.array(["BAD", "0"])},
        FileFormatError,
        ["mask_planes", "(name, bit)"],
    ),
    "planes without bits": (
        {"mask_planes": np.array([["BAD", "x"]])},
        FileFormatError,
        ["mask_planes", "(name, bit)"],
    ),
    "planes scalar": ({"mask_planes": np.array(3)}, FileFormatError, ["mask_planes", "(name, bit)"]),
    "planes too high": (
        {"mask": np.full(SHAPE, 1), "mask_planes": np.array([["BAD", "70"]])},
        DataError,
        ["[70]", "0 to 62"],
    ),
    "planes below zero": (
        {"mask": np.full(SHAPE, 1), "mask_planes": np.array([["BAD", "-1"]])},
        DataError,
        ["[-1]", "0 to 62"],
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_observation(case, write_npz, one_line_error):
    changes, error, words = BAD[case]
    path = write_npz(**changes)
    one_line_error(error, lambda: read_observation(path), "blend.npz", *words)


NO_ROWS = np.zeros(0, [("x", float), ("y", float)])
BAD_CATALOG = {
    "none": ({"centers": None}, FileFormatError, ["'centers'"]),
    "empty": ({"centers": np.zeros((0, 2)), "true_flux": None}, DataError, ["no sources"]),
    "no rows": ({"centers": None, "catalog": NO_ROWS}, FileFormatError, ["no sources"]),
    "plain": ({"centers": None, "catalog": np.zeros((2, 2))}, FileFormatError, ["(2, 2)", "fields x, y"]),
    "columns": ({"centers": None, "catalog": np.zeros(2, [("a", float)])}, FileFormatError, ["['a']", "x and y"]),
    "lengths": ({"catalog": np.zeros(3, [("z", float)])}, ShapeError, ["2 rows", "3"]),
    "ids": ({"object_id": np.array(["a"])}, ShapeError, ["'object_id'"]),
    "truth": ({"true_flux": np.ones((2, 3))}, ShapeError, ["(2, 3)", "(2, 2)"]),
    "truth as text": ({"true_flux": np.full((2, 2), "a")}, DataError, ["true_flux", "real numbers"]),
    "stars as text": ({"is_star": np.array(["True", "False"])}, FileFormatError, ["'is_star'", "True or False"]),
    "stars of other numbers": ({"is_star": np.array([0, 3])}, FileFormatError, ["'is_star'", "True or False"]),
    "truth images": (
        {"true_flux": None, "centers": None,
         "catalog": np.zeros(2, [("x", float), ("y", float), ("intensity_g", float), ("intensity_r", float)])},
        FileFormatError, ["intensity_g", "(y, x)"],
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD_CATALOG)
def test_bad_catalog(case, write_npz, one_line_error):
    changes, error, words = BAD_CATALOG[case]
    path = write_npz(**changes)
    one_line_error(error, lambda: read_catalog(path), "blend.npz", *words)


@pytest.mark.parametrize("read", [read_observation, read_catalog])
def test_files_that_are_none(read, tmp_path, one_line_error):
    one_line_error(FileFormatError, lambda: read(tmp_path / "no.npz"), "no.npz", "does not exist")
    one_line_error(FileFormatError, lambda: read(tmp_path / "scene.hdf5"), "'.hdf5'", ".npz", ".fits")
    (tmp_path / "folder.npz").mkdir()
    one_line_error(FileFormatError, lambda: read(tmp_path / "folder.npz"), "is no file")
    np.save(tmp_path / "array.npy", np.ones(3))
    (tmp_path / "array.npy").rename(tmp_path / "array.npz")
    one_line_error(FileFormatError, lambda: read(tmp_path / "array.npz"), "array.npz", "cannot be read")


@pytest.mark.parametrize("part", [0.0, 0.01, 0.3, 0.7, 0.999])
def test_truncated(part, write_npz, one_line_error):
    path = write_npz()
    content = path.read_bytes()
    path.write_bytes(content[: int(part * len(content))])
    one_line_error(FileFormatError, lambda: read_observation(path), "blend.npz", "truncated")

"""A user's own cutouts become a training set, or one line says why not."""

import numpy as np
import pytest
from astropy.io import fits

from scoresample.errors import DataError, FileFormatError, ScoresampleWarning

pytest.importorskip("galsim")
from scoresample.training.cutouts import read_cutouts


def blobs(count, shape, seed_shift=0):
    """Round galaxies of different brightness, in the middle."""
    y, x = (np.arange(n) - (n - 1) / 2 for n in shape)
    brightness = np.random.default_rng(seed_shift).uniform(3, 300, count)
    return brightness[:, None, None] * np.exp(-0.5 * (y[:, None] ** 2 + x**2) / 3.0**2)


@pytest.mark.parametrize("suffix", [".npz", ".npy", ".fits"])
def test_every_kind_of_file_gives_the_same(tmp_path, seed_shift, suffix):
    images = blobs(4, (20, 20), seed_shift)
    path = tmp_path / f"stack{suffix}"
    if suffix == ".fits":
        fits.HDUList([fits.PrimaryHDU(), fits.ImageHDU(images)]).writeto(path)
    elif suffix == ".npy":
        np.save(path, images)
    else:
        np.savez(path, images=images)
    found = read_cutouts(path)
    assert found.card == {"population": "cutouts", "files": [path.name], "counts": {20: 4}}
    expected = np.log1p(images / images.max(axis=(1, 2), keepdims=True)) / 0.1
    np.testing.assert_allclose(found.coordinates(20), expected, atol=3e-4)


def test_sizes_are_kept_apart_and_long_sides_are_cut_about_the_middle(tmp_path):
    np.savez(tmp_path / "a.npz", images=blobs(3, (20, 26)))
    np.savez(tmp_path / "b.npz", images=blobs(2, (150, 150)))
    np.savez(tmp_path / "c.npz", images=blobs(1, (21, 26)))
    found = read_cutouts(*(tmp_path / f"{name}.npz" for name in "abc"))
    assert {side: len(stack) for side, stack in found.images.items()} == {20: 4, 128: 2}
    first = found.coordinates(20)[0]
    np.testing.assert_allclose(first, first[::-1, ::-1], atol=3e-4)
    np.testing.assert_allclose(found.coordinates(128).max(axis=(1, 2)), np.log(2) / 0.1, rtol=1e-2)


BAD = {
    "small": (np.ones((2, 15, 40)), DataError, r"cutouts of \(15, 40\) pixels; needed at least 16"),
    "nan": (np.full((2, 20, 20), np.nan), DataError, "2 cutouts have pixels that are not finite"),
    "dark": (np.zeros((2, 20, 20)), DataError, "2 cutouts have no light in the middle"),
    "one axis": (np.ones(9), FileFormatError, r"an array of shape \(9,\); needed images"),
    "empty": (np.ones((0, 20, 20)), FileFormatError, r"shape \(0, 20, 20\)"),
    "text": (np.array([[["a"]]]), FileFormatError, r"shape \(1, 1, 1\)"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_cutouts_are_told(tmp_path, case):
    images, error, message = BAD[case]
    np.savez(tmp_path / "bad.npz", images=images)
    with pytest.raises(error, match=message):
        read_cutouts(tmp_path / "bad.npz")


def test_bad_files_are_told(tmp_path):
    np.savez(tmp_path / "other.npz", a=np.ones(3))
    with pytest.raises(FileFormatError, match=r"other\.npz has no key 'images'"):
        read_cutouts(tmp_path / "other.npz")
    (tmp_path / "none.fits").write_bytes(b"SIMPLE")
    with pytest.raises(FileFormatError, match=r"none\.fits cannot be read"):
        read_cutouts(tmp_path / "none.fits")
    with pytest.raises(FileFormatError, match="at least one file"):
        read_cutouts()


def test_a_neighbour_near_the_edge_is_warned_of(tmp_path):
    images = blobs(2, (24, 24))
    images[0, 1, 1] = 2 * images[0].max()
    np.save(tmp_path / "a.npy", images)
    with pytest.warns(ScoresampleWarning, match="1 of 2 cutouts are brightest near their edge"):
        read_cutouts(tmp_path / "a.npy")

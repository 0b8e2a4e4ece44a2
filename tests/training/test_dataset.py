"""Training sets: the same seed gives the same galaxies, files keep them, and other files are refused."""

import numpy as np
import pytest

from scoresample.errors import ConfigError, DataError, FileFormatError

pytest.importorskip("galsim")
from scoresample.training import simulation
from scoresample.training.dataset import (
    STEPS_PER_UNIT,
    as_steps,
    check_images,
    read_training_set,
    write_training_set,
)
from scoresample.training.galaxies import simulate_galaxy
from scoresample.training.simulation import simulate_training_set

SMALL = {16: 240, 21: 120}


@pytest.fixture(scope="module")
def make_small():
    """Make a small set, by one process or two."""

    def make(population="general", workers=1, **options):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(simulation, "COUNTS", {population: SMALL})
            return simulate_training_set(population, 3, workers=workers, progress=False, **options)

    return make


@pytest.fixture(scope="module")
def small(make_small):
    return make_small()


def test_galaxies_depend_on_the_seed_and_nothing_else(make_small, small):
    other = make_small(workers=2)
    half = make_small(share=0.5)
    for side, count in SMALL.items():
        assert small.images[side].shape == (count, side, side)
        np.testing.assert_array_equal(other.images[side], small.images[side])
        np.testing.assert_array_equal(half.images[side], small.images[side][: count // 2])
    assert small.card["counts"] == SMALL and small.card["population"] == "general"


def test_images_are_those_of_the_simulator_to_rounding(small):
    stream = np.random.default_rng(np.random.SeedSequence([3, 21, 7]))
    u = np.log1p(simulate_galaxy(stream, 21)) / 0.1
    np.testing.assert_allclose(small.coordinates(21, [7])[0], u, atol=0.51 / STEPS_PER_UNIT)


def test_ztf_like_galaxies_are_of_two_kinds_and_peak_near_one(make_small):
    found = make_small("ztf-like")
    peaks = np.expm1(0.1 * found.coordinates(16)).max(axis=(1, 2))
    assert 0.08 < np.log(peaks).std() < 0.12 and abs(np.log(peaks).mean()) < 0.03
    # The steep profiles have their light in the middle: half of the set, apart from the other.
    light = np.expm1(0.1 * found.coordinates(16))
    middle = light[:, 6:10, 6:10].sum(axis=(1, 2)) / light.sum(axis=(1, 2))
    assert middle.std() > 0.08


def test_a_set_survives_its_file(small, tmp_path):
    path = tmp_path / "deep" / "set.npz"
    write_training_set(path, small)
    again = read_training_set(path)
    assert again.card == {**small.card, "counts": {str(k): v for k, v in SMALL.items()}}
    for side in SMALL:
        np.testing.assert_array_equal(again.images[side], small.images[side])
    assert [p.name for p in path.parent.iterdir()] == ["set.npz"]


@pytest.mark.parametrize("part", [0.0, 0.2, 0.99])
def test_truncated_files_are_told(small, tmp_path, part):
    path = tmp_path / "set.npz"
    write_training_set(path, small)
    path.write_bytes(path.read_bytes()[: int(part * path.stat().st_size)])
    with pytest.raises(FileFormatError, match=r"set\.npz cannot be read as a training set"):
        read_training_set(path)


def test_bad_input():
    with pytest.raises(
        ConfigError, match="population is 'stars'; choose one of general, ring-boxes, ztf-like"
    ):
        simulate_training_set("stars")
    with pytest.raises(ConfigError, match="leaves 0 galaxies in a box"):
        simulate_training_set("general", share=1e-6)
    with pytest.raises(DataError, match=r"shape \(2, 5, 5\) and type int16; needed \(galaxy, 4, 4\)"):
        check_images({4: np.zeros((2, 5, 5), np.int16)}, "x")
    with pytest.raises(DataError, match="x has no images"):
        check_images({}, "x")
    assert as_steps(np.array([1e6, -1e6])).tolist() == [32767, -32768]

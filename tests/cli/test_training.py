"""`scoresample simulate`: a training set in a file."""

import pytest

pytest.importorskip("galsim")
from scoresample.training.dataset import read_training_set


def test_simulate_writes_a_training_set(scoresample, tmp_path):
    path = tmp_path / "galaxies.npz"
    result = scoresample("simulate", "-o", path, "--share", "0.0002", "--seed", 5, "--workers", 1, "-q")
    assert result.exit_code == 0
    assert "general galaxies, 6 of 24 pixels, 6 of 32 pixels" in result.stdout
    found = read_training_set(path)
    assert found.card["seed"] == 5
    assert {side: len(images) for side, images in found.images.items()} == {
        24: 6,
        32: 6,
        48: 4,
        64: 3,
        96: 1,
        128: 1,
    }


def test_a_bad_share_is_one_line(scoresample, tmp_path, one_line_error):
    result = scoresample("simulate", "-o", tmp_path / "galaxies.npz", "--share", "0")
    one_line_error(result, "share is 0", "give more")
    assert not list(tmp_path.iterdir())

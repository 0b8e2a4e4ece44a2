"""The command calibrate: exit status, files, going on, and bad input."""

import json

import numpy as np
import pytest

from scoresample.data.catalog import make_catalog
from scoresample.data.observation import make_observation
from scoresample.data.writers import write_scene

SAMPLING = (
    "--prior", "gaussian", "--chains", "2", "--warmup", "20", "--draws", "30", "--max-draws", "0", "--workers", "1",
    "--quiet",
)  # fmt: skip


@pytest.fixture(scope="module")
def star(tmp_path_factory):
    """A scene file with one star in one band."""
    psf = np.exp(-0.5 * ((np.indices((9, 9)) - 4) ** 2).sum(axis=0) / 1.4**2)
    psf /= psf.sum()
    images = np.random.default_rng(0).normal(size=(1, 14, 14))
    images[0, 3:12, 2:11] += 300 * psf
    observation = make_observation(images, np.ones_like(images), psf[None], ["r"], flux_unit="nJy")
    path = tmp_path_factory.mktemp("scene") / "star.npz"
    write_scene(path, observation, make_catalog(np.array([[7.0, 6.0]]), is_star=[True]))
    return path


def test_few_scenes_are_undecided_and_more_are_added(scoresample, star, tmp_path, one_line_error):
    first = scoresample("calibrate", star, "-o", tmp_path, "--scenes", "2", *SAMPLING)
    assert first.exit_code == 1 and "Verdict: undecided" in first.stdout
    assert "2 scenes can be used, 20 are needed" in first.stdout or "too few draws" in first.stdout
    assert {path.name for path in tmp_path.iterdir()} == {
        "scenes", "settings.json", "calibration.json", "calibration.png"
    }  # fmt: skip
    scenes = tmp_path / "scenes"
    before = (scenes / "00001.json").stat().st_mtime_ns
    again = scoresample("calibrate", star, "-o", tmp_path, "--scenes", "3", *SAMPLING)
    assert "of 3 scenes used" in again.stdout and len(list(scenes.iterdir())) == 3
    assert (scenes / "00001.json").stat().st_mtime_ns == before
    report = json.loads((tmp_path / "calibration.json").read_text())
    assert report["of"]["input"]["file"] == "star.npz" and report["of"]["run"]["draws"] == 30
    other = scoresample("calibrate", star, "-o", tmp_path, "--scenes", "3", *SAMPLING, "--seed", "8")
    one_line_error(other, "another scene, model or settings", "another folder")


def test_bad_input_is_one_line(scoresample, star, tmp_path, one_line_error):
    one_line_error(scoresample("calibrate", "absent.npz", "-o", tmp_path), "absent.npz")
    one_line_error(scoresample("calibrate", star, "-o", tmp_path, "--scenes", "0"), "num_scenes is 0")
    one_line_error(scoresample("calibrate", star, "-o", tmp_path, "--scatter", "-1"), "scatter -1")
    one_line_error(scoresample("calibrate", star, "-o", tmp_path, "--prior", "none"), "none")
    assert not (tmp_path / "scenes").exists()

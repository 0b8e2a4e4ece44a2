"""`scoresample simulate` and `train`: from nothing to a training set, from there to weights."""

import json

import numpy as np
import pytest

from scoresample.models.weights_file import read_network
from scoresample.training.dataset import TrainingSet, read_training_set, write_training_set


def test_simulate_writes_a_training_set(scoresample, tmp_path):
    pytest.importorskip("galsim")
    from scoresample.training.simulation import COUNTS

    path = tmp_path / "galaxies.npz"
    result = scoresample("simulate", "-o", path, "--share", "0.001", "--seed", 5, "--workers", 1, "-q")
    assert result.exit_code == 0
    assert "general galaxies, 8 of 16 pixels, 12 of 17 pixels" in result.stdout
    found = read_training_set(path)
    assert found.card["seed"] == 5
    counts = {side: len(images) for side, images in found.images.items()}
    assert counts == {side: count // 1000 for side, count in COUNTS["general"].items()}


def test_a_bad_share_is_one_line(scoresample, tmp_path, one_line_error):
    pytest.importorskip("galsim")
    result = scoresample("simulate", "-o", tmp_path / "galaxies.npz", "--share", "0")
    one_line_error(result, "share is 0", "give more")
    assert not list(tmp_path.iterdir())


def test_training_ends_in_weights_and_goes_on_where_it_was(scoresample, tmp_path, one_line_error):
    galaxies = np.random.default_rng(1).integers(0, 5000, (20, 16, 16)).astype(np.int16)
    write_training_set(tmp_path / "galaxies.npz", TrainingSet({16: galaxies}, {"population": "noise"}))
    options = ("--steps", 4, "--kind", "score", "-q")
    first = scoresample("train", tmp_path / "galaxies.npz", "-o", tmp_path / "weights.npz", *options)
    assert first.exit_code == 0
    assert "score network, 4 steps, loss" in first.stdout
    network, _, card = read_network(tmp_path / "weights.npz")
    assert network.kind == "score"
    assert card["settings"]["num_steps"] == 4
    again = ("train", tmp_path / "galaxies.npz", "-o", tmp_path / "weights.npz", "--resume", "-q")
    one_line_error(scoresample(*again, "--steps", 5), "weights.checkpoint.npz", "other settings or galaxies")


def test_training_needs_a_training_set(scoresample, tmp_path, one_line_error):
    result = scoresample("train", tmp_path / "none.npz", "-o", tmp_path / "weights.npz")
    one_line_error(result, "none.npz cannot be read as a training set")


def test_a_prior_of_the_logarithm_is_measured_in_it_and_is_nearer_to_galaxies(scoresample, tmp_path):
    pytest.importorskip("galsim")
    distances = {}
    for name in ("gaussian", "log-gaussian"):
        result = scoresample(
            "report-prior", name, "-o", tmp_path / name, "--share", "0.02", "--draws", 400, "-q",
            "--set", "ring-boxes",
        )  # fmt: skip
        assert result.exit_code == 0, result.stderr
        report = json.loads((tmp_path / name / "report.json").read_text())
        distances[name] = report["draws"]["distances"]
    assert report["walk"]["acceptance"] > 0.7
    # Not in concentration: of sizes that scatter so much about their boxes it is skewed (docs/priors.md).
    for statistic in distances["gaussian"].keys() - {"concentration"}:
        assert distances["log-gaussian"][statistic] < distances["gaussian"][statistic], statistic


def test_a_prior_is_measured_and_what_misses_its_limit_is_said(scoresample, tmp_path, one_line_error):
    pytest.importorskip("galsim")
    result = scoresample("report-prior", "gaussian", "-o", tmp_path, "--share", "0.02", "--draws", 200, "-q")
    assert result.exit_code == 0, result.stderr
    assert "draws, ellipticity" in result.stdout
    assert "MISSED" in result.stdout
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["draws"]["number"] == 200
    assert report["galaxies"]["counts"]["32"] == 200
    assert report["prior"]["sha256"]
    assert {path.name for path in tmp_path.glob("*.png")} == {
        "images.png",
        "noise_levels.png",
        "statistics.png",
    }
    one_line_error(scoresample("report-prior", "stars", "-o", tmp_path), "no prior 'stars'")

"""The stored verdict of ``scoresample calibrate -o OUT --scenes 36`` on the shipped scene, its OUT/calibration.json."""

import json
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import norm

import benchmarks
from scoresample.diagnostics.coverage import uniformity
from scoresample.models.load import prior_hash
from scoresample.products.pipeline_settings import RunSettings
from scoresample.products.plain import plain

NARROW = 0.7
LEAST_P = 1e-3


@pytest.fixture(scope="module")
def stored():
    path = Path(benchmarks.__path__[0]) / "calibrate_shipped.json"
    return json.loads(path.read_text(encoding="utf-8"))


def smallest(pits):
    """Return the smallest p-value that values of each flux are uniform, times the number of fluxes."""
    return min(uniformity(np.array(values)) for values in pits) * len(pits)


def test_the_default_prior_and_sampler_are_calibrated(stored):
    assert stored["of"]["run"] == plain(asdict(RunSettings()))
    assert stored["of"]["input"]["prior"]["sha256"] == prior_hash(RunSettings().prior)
    assert stored["status"] == "passed" and stored["scenes"]["used"] == 36
    every = next(group for group in stored["groups"] if group["group"] == "all")
    assert every["fluxes"] == 36 * 30
    assert abs(every["pull_width"] - 1) < 3 * every["pull_width_error"]
    assert smallest([row["pit"] for row in stored["ranks"]]) > LEAST_P


def test_errors_too_small_would_be_seen(stored):
    """Shares of truths in 68 % intervals, and those if the errors of normal posteriors were 30 % smaller."""
    pits = np.array([row["pit"] for row in stored["ranks"]])
    narrow = norm.cdf(norm.ppf(np.clip(pits, 1e-6, 1 - 1e-6)) / NARROW)
    right, wrong = (np.mean(np.abs(values - 0.5) < 0.34, axis=0) for values in (pits, narrow))
    error = right.std(ddof=1) / np.sqrt(right.size)  # fluxes of one scene share its noise
    assert abs(right.mean() - 0.68) < 3 * error
    assert abs(wrong.mean() - 0.68) > 5 * error

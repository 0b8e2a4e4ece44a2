"""On a real scene fluxes are the same by the value of the posterior's density and by its score alone."""

import numpy as np
import pandas as pd
import pytest

from benchmarks import hidden_value

MOST_ERRORS = 4.0
"""Of 35 means and 35 standard deviations, all of one scene."""


@pytest.fixture
def rows():
    """Those stored by ``python -m benchmarks.hidden_value hsc_cosmos_35.npz --prior profile``."""
    return pd.read_csv(hidden_value.STORED["profile"])


def largest(rows):
    """Return the largest difference, in its Monte-Carlo errors, of a mean and of a standard deviation."""
    found = hidden_value.compare(rows).loc["score alone"]
    return found["mean, errors largest"], found["sd, errors largest"]


def test_every_mean_and_sd_agree_within_their_errors(rows):
    assert len(rows) == 2 * 7 * 5 and (rows["status"] == "done").all()
    assert rows["r_hat"].max() < 1.02 and rows["ess"].min() > 300
    assert max(largest(rows)) < MOST_ERRORS


@pytest.mark.parametrize(("column", "share"), [("mean", 0.35), ("sd", 0.25)])
def test_other_means_and_wider_errors_would_be_seen(rows, column, share):
    """Power: means off by a third of a standard deviation, errors a quarter too large."""
    hidden = rows["method"] == "score alone"
    rows.loc[hidden, column] += share * rows.loc[hidden, "sd"]
    assert np.max(largest(rows)) > MOST_ERRORS

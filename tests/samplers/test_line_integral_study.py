"""The study of benchmarks/line_integral.py: what it stored is within its limits, and a small part of it anew."""

import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest

import scoresample as ss
from benchmarks import line_integral as study

FEW = 400_000


@pytest.fixture(scope="module")
def rows():
    return pd.read_csv(study.STORED)


def in_errors(row):
    """Return the larger deviation, of mean and of standard deviation, in its Monte-Carlo error."""
    return max(abs(row["mean"] / row["mean_error"]), abs(row["sd"] / row["sd_error"]))


def test_every_row_is_there(rows):
    stored = list(rows[["target", "size", "method", "curl"]].itertuples(index=False, name=None))
    assert sorted(stored) == sorted(study.wanted())


def test_with_the_score_alone_means_and_widths_are_right_and_those_of_the_density(rows):
    rows = rows[rows["curl"] == 0]
    right = rows[~rows["method"].isin(study.CONTROLS)]
    assert right["mean"].abs().max() < 0.3
    assert right["sd"].abs().max() < 0.5
    assert right.apply(in_errors, axis=1).max() < 5
    for sampler in ("NUTS", "HMC"):
        both = [
            right[right["method"] == f"{sampler}, {told}"].sort_values(["target", "size"]).reset_index()
            for told in ("density", "score")
        ]
        assert np.abs(both[0]["acceptance"] - both[1]["acceptance"]).max() < 0.05
        ratio = both[1]["step_size"] / both[0]["step_size"]
        assert np.abs(np.log(ratio)).max() < 0.12  # single runs scatter
        assert abs(np.log(ratio).mean()) < 0.025  # altogether they agree


def test_step_sizes_and_acceptance_are_those_of_the_density(rows):
    steps = pd.read_csv(study.STEPS_STORED)
    assert steps.groupby(["target", "sampler", "energy"]).size().tolist() == [12] * 6 * len(study.TARGETS)
    steps["log"] = np.log(steps["step_size"])
    mean = steps.groupby(["energy", "target", "sampler"])[["log", "acceptance"]].mean()
    for energy in ("score, Simpson", "score, Gauss-Legendre"):
        off = (mean.loc[energy] - mean.loc["density"]).abs()
        assert off["log"].max() < 0.05 and off["acceptance"].max() < 0.015
    # A rule that is wrong by what the accepted energies are wrong by has steps of its own.
    at = rows[(rows["size"] == study.CONTROLLED_AT) & (rows["curl"] == 0)].set_index(["method", "target"])[
        "step_size"
    ]
    assert np.abs(np.log(at["NUTS, trapezoid"] / at["NUTS, density"])).max() > 0.05


def test_wrong_energies_fail_on_every_target(rows):
    for name in study.CONTROLS:
        wrong = rows[rows["method"] == name]
        assert len(wrong) == len(study.TARGETS)
        assert wrong.apply(in_errors, axis=1).min() > 5


def test_the_audit_reads_the_curl_and_the_bias_is_what_the_docs_say(rows):
    twisted = rows[rows["curl"] > 0].sort_values("curl")
    expected = 2 * twisted["curl"] / np.sqrt(1 + twisted["curl"] ** 2)
    # The rotation is in proportion to the Jacobian at draws of the density without it.
    np.testing.assert_allclose(twisted["read"], expected, rtol=0.1)
    bias = twisted[["mean", "sd"]].abs().max(axis=1).to_numpy()
    assert bias[0] < 0.3 and 0.3 < bias[1] < 2 and 5 < bias[2] < 15


@pytest.mark.parametrize("name", ["mixture", "banana"])
def test_a_part_of_it_anew(name):
    right, wrong = (study.compare(name, 64, f"NUTS, {told}", FEW) for told in ("score", "trapezoid"))
    assert in_errors(right) < 5
    assert in_errors(wrong) > 5


@pytest.mark.parametrize("name", study.TARGETS)
def test_moments_are_those_of_the_densities(name):
    """Against the energy of a target on a grid of one factor, others held."""
    target = study.TARGETS[name](16)
    first = np.zeros(16)
    if name == "banana":  # b given a = 0 has width 1, and a and b together are no product
        x = np.linspace(-8, 8, 2001)
        line = jnp.asarray(first)[None].repeat(len(x), 0).at[:, 1].set(x)
        mean, sd = 0.0, 1.0
    else:
        mean, sd = (float(np.broadcast_to(v, 16)[0]) for v in (target.mean, target.sd))
        x = np.linspace(mean - 12 * sd, mean + 12 * sd, 4001)
        line = jnp.asarray(first)[None].repeat(len(x), 0).at[:, 0].set(x)
    told = study.density(target, True)
    values = np.asarray([float(told.log_prob(point)) for point in line[::10]])
    weight = np.exp(values - values.max())
    at = x[::10]
    assert weight @ at / weight.sum() == pytest.approx(mean, abs=1e-2 * sd)
    assert np.sqrt(weight @ (at - mean) ** 2 / weight.sum()) == pytest.approx(sd, rel=1e-2)
    assert isinstance(study.density(target, False), ss.Density)

"""The verdict on simulated scenes that are right, wrong, too few, and of too few draws."""

import numpy as np
import pytest

from scoresample.diagnostics.calibration import LEVEL, judge
from scoresample.diagnostics.coverage import crps, pit
from scoresample.diagnostics.tarp import tarp_value

DRAWS = 200


@pytest.fixture
def scenes(seed_shift):
    """Give what is kept of scenes of two objects in two bands, with noise in common, and errors as asked."""

    def make(num, *, wider=1.0, bias=0.0, faint_bias=0.0, seed=1, **changes):
        rng = np.random.default_rng(seed + seed_shift)
        found = []
        for scene in range(num):
            sd = np.array([1.0, 2.0, 30.0, 40.0])
            mean = np.array([100.0, 120.0, 90.0, 100.0])
            root = np.linalg.cholesky(0.5 + 0.5 * np.eye(4))
            truth = mean + sd * (root @ rng.normal(size=4))
            shift = (bias + faint_bias * np.array([0, 0, 1, 1])) * sd
            draws = mean + shift + wider * sd * (rng.normal(size=(DRAWS, 4)) @ root.T)
            fluxes = []
            for index, (name, band) in enumerate((n, b) for n in ("one", "two") for b in "gr"):
                values = draws[:, index]
                score, expected = crps(truth[index], values)
                fluxes.append({"object": name, "band": band, "truth": truth[index], "mean": values.mean(),
                               "sd": values.std(), "pit": pit(truth[index], values, rng), "rank": 0, "crps": score,
                               "crps_expected": expected, "snr": values.mean() / values.std(),
                               "blendedness": 0.1 if name == "one" else 0.3})  # fmt: skip
            others = {"background[g]": rng.uniform()}
            about = {
                "scene": scene,
                "status": "done",
                "converged": True,
                "r_hat": 1.0,
                "ess": 200.0,
                "kept": 1.0,
            }
            value = tarp_value(truth, draws, rng)
            found.append(about | {"tarp": value, "fluxes": fluxes, "others": others} | changes)
        return found

    return make


def test_scenes_that_are_right_pass_with_their_errors_stated(scenes):
    found = judge(scenes(150))
    assert found.status == "passed" and found.passed and found.reasons == ()
    everything = found.groups.iloc[0]
    assert everything["fluxes"] == 600 and everything["scenes"] == 150
    assert abs(everything["coverage_68"] - 0.68) < 5 * everything["coverage_68_error"]
    # Noise in common: more than the binomial error of 600 independent fluxes.
    assert 0.019 < everything["coverage_68_error"] < 0.038
    assert abs(everything["crps_ratio"] - 1) < 0.2
    bins = [
        "S/N below 5",
        "S/N 20 to 100",
        "S/N 100 and more",
        "blendedness 0.05 to 0.2",
        "blendedness 0.2 to 0.5",
    ]
    assert list(found.groups["group"]) == ["all", *bins]
    assert len(found.fluxes) == 4
    assert "Verdict: calibrated; 68 % intervals hold" in repr(found) and " +- " in found.verdict


@pytest.mark.parametrize(
    ("wrong", "said"),
    [({"wider": 0.7}, "coverage 68"), ({"wider": 1.5}, "pull width"), ({"bias": 0.5}, "pull mean")],
)
def test_wrong_errors_and_biases_fail_and_the_reason_says_which(scenes, wrong, said):
    found = judge(scenes(150, **wrong))
    assert found.status == "failed"
    assert any(said in reason for reason in found.reasons)
    assert "NOT calibrated" in found.verdict


def test_a_bias_of_faint_fluxes_is_found_in_its_bin(scenes):
    found = judge(scenes(150, faint_bias=0.7))
    assert found.status == "failed"
    assert any(reason.startswith("pull mean of S/N below 5 is 0.") for reason in found.reasons)
    assert not any("100 and more" in reason for reason in found.reasons)


def test_too_few_scenes_and_too_few_draws_are_undecided(scenes):
    few = judge(scenes(10))
    assert few.status == "undecided" and "10 scenes can be used, 20 are needed" in few.reasons[0]
    rough = judge(scenes(25))
    assert rough.status == "undecided" and "simulate about" in rough.reasons[0]
    poor = judge(scenes(150) + scenes(50, seed=2, ess=20.0))
    assert poor.status == "undecided" and "50 of 200 scenes have too few draws" in poor.reasons[0]
    assert len(poor.table) == 4 * 150


def test_scenes_that_failed_count_for_nothing_but_are_named(scenes):
    broken = [
        {"scene": k, "status": "failed: no light", "ess": None, "fluxes": [], "others": {}} for k in range(30)
    ]
    found = judge(scenes(150) + broken)
    assert found.status == "undecided" and found.reasons == (
        "30 of 180 scenes failed, the first: failed: no light",
    )
    nothing = judge(broken)
    assert nothing.status == "undecided" and "Verdict: undecided" in repr(nothing)


def test_a_right_posterior_fails_as_rarely_as_it_says(scenes):
    """Of 60 calibrations hardly any fails, and their smallest p-values are not all far from the limit."""
    results = [judge(scenes(40, seed=100 + k)) for k in range(60)]
    failed = np.mean([found.status == "failed" for found in results])
    assert failed < LEVEL + 5 * np.sqrt(LEVEL * (1 - LEVEL) / 60)
    smallest = [min(found.tests.values()) * len(found.tests) for found in results]
    assert np.mean(np.array(smallest) < 0.5) > 0.1

"""Numbers of a gallery: metrics against their formulas, and verdicts that can go both ways."""

import numpy as np
import pytest
from scipy.stats import norm

from scoresample.diagnostics.blend_measures import correlation, flux_error
from scoresample.diagnostics.blend_report import judge_blends
from scoresample.diagnostics.blend_targets import make_target
from scoresample.diagnostics.bootstrap import bootstrap_error

NUM_SCENES, NUM_OBJECTS = 60, 4
KINDS = "disk", "merger"


def test_flux_errors_are_of_totals_and_correlations_know_no_scale():
    truth = np.array([[1.0, 3.0], [2.0, 2.0]])
    np.testing.assert_allclose(flux_error(np.array([[2.0, 4.0], [1.0, 2.0]]), truth), [0.5, -0.25])
    np.testing.assert_allclose(correlation(5 * truth, truth), 1)
    np.testing.assert_allclose(correlation(np.array([[3.0, -1.0], [0.0, 0.0]]), truth), [0, 0], atol=1e-12)
    images = np.arange(8.0).reshape(2, 2, 2)
    assert correlation(images[:, ::-1], images).max() < 1


def results(seed, truth_factor=1.0, errors=1.0, worse=1.0, change=0.0, ess=400):
    """Return results of a posterior with normal errors, an oracle of the same, and worse methods."""
    rng = np.random.default_rng(seed)
    found = []
    for scene in range(NUM_SCENES):
        truth = rng.uniform(20, 2000, (NUM_OBJECTS, 2))
        sd = np.full(truth.shape, 10.0)
        noise = sd * rng.normal(size=truth.shape)
        methods = {"oracle": noise, "posterior": noise, "posterior:bright": noise + change * sd,
                   "constrained": worse * noise, "parametric": worse * noise, "map": 1.5 * noise}  # fmt: skip
        for name, off in methods.items():
            true, flux = truth_factor * truth, truth + off
            z = (true - flux) / (errors * sd)
            rows = [
                {"object": k, "kind": KINDS[k % 2], "known_star": False, "magnitude": 24.0 + k, "blendedness": 0.1 * k,
                 "flux_error": flux_error(flux, true)[k], "morphology": 0.999, "spectrum": 0.999, "truth": true[k],
                 "flux": flux[k]}
                | ({} if name in ("constrained", "parametric", "map") else {
                    "sd": errors * sd[k], "pit": norm.cdf(z[k]), "crps": sd[k], "crps_expected": sd[k]})
                for k in range(NUM_OBJECTS)
            ]  # fmt: skip
            found.append({"scene": scene, "method": name, "status": "done", "seconds": 1.0, "notes": {"ess": ess},
                          "bands": "gi", "objects": {name: rows}})  # fmt: skip
    return found


def test_kinds_have_numbers_of_their_own_and_no_targets(seed_shift):
    """Errors of mergers alone are made three times too small: their rows say so, those of disks do not."""
    found = results(8 + seed_shift)
    for result in found:
        for row in result["objects"].get("posterior", ()):
            if row["kind"] == "merger":
                row["sd"] = row["sd"] / 3
    report = judge_blends(found)
    rows = report.intervals[
        (report.intervals["estimate"] == "posterior") & (report.intervals["bands"] == "i")
    ]
    width = rows.set_index("group")["pull_width"]
    assert abs(width["kind disk"] - 1) < 0.3 and abs(width["kind merger"] - 3) < 0.9
    assert {"kind disk", "kind merger"} <= set(report.groups["group"])
    assert not [target for target in report.targets if "kind" in target.name]


def statuses(report, words):
    return {target.status for target in report.targets if words in target.name}


def test_right_intervals_and_smaller_errors_meet_the_targets(seed_shift):
    report = judge_blends(results(5 + seed_shift, worse=3.0))
    for words in (
        "over oracle",
        "over map",
        "constrained",
        "parametric",
        "morphology",
        "too bright",
        "effective",
    ):
        assert statuses(report, words) == {"met"}, str(report)
    for words in ("coverage 68", "coverage 95", "pull width"):
        assert statuses(report, words) <= {"met", "open"}, str(report)
    groups = report.intervals
    chosen = groups[
        (groups["estimate"] == "posterior") & (groups["bands"] == "i") & (groups["group"] == "all")
    ]
    assert chosen["fluxes"].item() == NUM_SCENES * NUM_OBJECTS
    both = groups[
        (groups["estimate"] == "posterior") & (groups["bands"] == "all") & (groups["group"] == "all")
    ]
    assert both["fluxes"].item() == 2 * NUM_SCENES * NUM_OBJECTS


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"truth_factor": 1.3}, "coverage 68"),
        ({"errors": 0.6}, "coverage 68"),
        ({"errors": 0.6}, "pull width of fluxes in i"),
        ({"worse": 0.3}, "over constrained"),
        ({"change": 0.3}, "too bright"),
        ({"ess": 50}, "effective draws"),
    ],
)
def test_what_is_wrong_misses_its_target(wrong, words, seed_shift):
    report = judge_blends(results(6 + seed_shift, **wrong))
    assert "missed" in statuses(report, words), str(report)
    assert not report.met


def test_a_number_known_badly_is_open():
    assert make_target("", 0.68, 0.02, 0.64, 0.72).status == "met"
    assert make_target("", 0.68, 0.05, 0.64, 0.72).status == "open"
    assert make_target("", 0.74, 0.02, 0.64, 0.72).status == "open"
    assert make_target("", 0.80, 0.02, 0.64, 0.72).status == "missed"
    assert make_target("", 0.68, np.nan, 0.64, 0.72).status == "open"


def test_errors_by_resampling_see_that_objects_of_a_scene_go_together(seed_shift):
    import pandas as pd

    rng = np.random.default_rng(7 + seed_shift)
    scene = pd.Series(np.repeat(np.arange(100), 4))
    apart, together = pd.Series(rng.normal(size=400)), pd.Series(np.repeat(rng.normal(size=100), 4))
    assert 0.03 < bootstrap_error(np.mean, scene, apart) < 0.07  # 1 / sqrt(400)
    assert 0.07 < bootstrap_error(np.mean, scene, together) < 0.13  # 1 / sqrt(100)
    assert np.isnan(bootstrap_error(np.mean, scene[:8], apart[:8]))


def test_nothing_found_is_a_report_too():
    failed = {"scene": 0, "method": "oracle", "status": "failed: no light", "seconds": 0.1, "notes": {},
              "bands": "i", "objects": {}}  # fmt: skip
    report = judge_blends([failed])
    assert report.failed == 1 and not report.met and "1 of 1 runs failed" in repr(report)

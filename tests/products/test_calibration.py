"""Calibration of a small scene from truth to verdict: right error bars pass, wrong ones do not."""

import dataclasses
import json
import pickle

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest

import scoresample as ss
from scoresample.diagnostics.calibration import judge
from scoresample.diagnostics.simulation import least_light
from scoresample.products import calibration_workers, pipeline_draws, workers
from scoresample.products.calibration_files import report_of, scene_file, write_calibration
from scoresample.products.calibration_scene import simulate_scene
from scoresample.products.calibration_workers import Task, keep_scene

SHAPE, CENTERS = (16, 16), np.array([[7.0, 6.0], [8.0, 9.5]])
FLUX = jnp.array([[200.0, 300.0], [150.0, 100.0]])
SETTINGS = ss.RunSettings(sampler="hmc", chains=4, warmup=50, draws=100, max_draws=0)
NUM_SCENES = 50


def two_stars(noise=1.0, flux_sd=60.0):
    """Return a posterior of two overlapping stars with free centers, noise as asked."""
    psf = np.exp(-0.5 * ((np.indices((11, 11)) - 5) ** 2).sum(axis=0) / 1.5**2)
    weight = np.full((2, *SHAPE), noise**-2.0)
    images = np.random.default_rng(0).normal(size=weight.shape)
    observation = ss.make_observation(images, weight, np.stack([psf / psf.sum()] * 2), "gr")
    scene = ss.initialize_scene(observation, ss.make_catalog(CENTERS, is_star=[True, True]))
    return ss.Posterior(scene, observation, flux=dist.Normal(FLUX, flux_sd), background=dist.Normal(0.0, 0.3))


@pytest.fixture(scope="module")
def right(tmp_path_factory):
    """A calibration of a posterior that is right, and its folder."""
    folder = tmp_path_factory.mktemp("calibration")
    return folder, ss.calibrate(two_stars(), folder, NUM_SCENES, SETTINGS, workers=1)


def test_a_right_posterior_passes_and_says_how_well_that_is_known(right):
    found = right[1]
    assert found.status == "passed", found.verdict
    assert found.scenes["used"].sum() == NUM_SCENES and len(found.table) == 4 * NUM_SCENES
    everything = found.groups.iloc[0]
    assert 0.032 < everything["coverage_68_error"] < 0.04
    assert "68 % intervals hold" in repr(found) and "50 of 50 scenes used" in repr(found)
    # What is tested, besides fluxes one by one and in bins: backgrounds, centers, and all fluxes together.
    assert {"ranks of background[0]", "ranks of star_0.center[1]", "TARP, all fluxes together"} <= set(
        found.tests
    )
    assert not any("light" in name for name in found.tests)  # stars have no free image


@pytest.mark.parametrize("noise", [1.5, 0.6])
def test_a_posterior_whose_noise_is_misstated_fails_and_the_pulls_say_by_how_much(tmp_path, noise):
    found = ss.calibrate(two_stars(), tmp_path, 25, SETTINGS, truth_from=two_stars(noise), workers=1)
    assert found.status == "failed" and "NOT calibrated" in found.verdict
    everything = found.groups.iloc[0]
    assert abs(everything["pull_width"] - noise) < 5 * everything["pull_width_error"]
    assert (everything["coverage_68"] < 0.68) == (noise > 1)


def test_the_folder_holds_scenes_report_and_picture(right):
    folder, found = right
    report = json.loads((folder / "calibration.json").read_text())
    assert report["status"] == "passed" and report["scenes"] == {
        "simulated": NUM_SCENES,
        "used": NUM_SCENES,
        "converged": int(found.scenes["converged"].sum()),
    }
    assert report["groups"][0]["coverage_68"] == found.groups["coverage_68"].iloc[0]
    assert [(row["object"], row["band"]) for row in report["ranks"]] == [
        (name, band) for name in ("star_0", "star_1") for band in "gr"
    ]
    ranks = np.array([row["rank"] for row in report["ranks"]])
    assert ranks.shape == (4, NUM_SCENES) and ranks.min() >= 0 and ranks.max() <= 63
    assert report["of"]["run"]["warmup"] == 50 and "jax" in report["versions"]
    assert (folder / "calibration.png").read_bytes()[:4] == b"\x89PNG"


def test_a_second_call_goes_on_and_gives_the_same(right, tmp_path):
    folder, found = right
    for number in range(3):
        scene_file(tmp_path, number).parent.mkdir(exist_ok=True)
        scene_file(tmp_path, number).write_bytes(scene_file(folder, number).read_bytes())
    (tmp_path / "settings.json").write_bytes((folder / "settings.json").read_bytes())
    kept = scene_file(tmp_path, 0).stat().st_mtime_ns
    again = ss.calibrate(two_stars(), tmp_path, 4, SETTINGS, workers=1)
    assert scene_file(tmp_path, 0).stat().st_mtime_ns == kept
    assert scene_file(tmp_path, 3).read_bytes() == scene_file(folder, 3).read_bytes()
    assert again.table["truth"].tolist() == found.table["truth"][:16].tolist()
    assert again.status == "undecided" and "4 scenes can be used, 20 are needed" in again.reasons[0]


def test_what_a_worker_is_sent_gives_the_same_scene(right, tmp_path):
    model = two_stars()
    task = Task(model, SETTINGS, least_light(model), model)
    workers.work_packed(keep_scene, pickle.dumps((task, tmp_path)), 1)
    assert scene_file(tmp_path, 1).read_bytes() == scene_file(right[0], 1).read_bytes()


@pytest.mark.slow
def test_several_processes_give_the_same_scenes_as_one(right, tmp_path):
    """The same truths exactly; draws but for rounding, since workers have fewer cores."""
    ss.calibrate(two_stars(), tmp_path, 2, SETTINGS, workers=2)
    for number in range(2):
        one, other = (json.loads(scene_file(folder, number).read_text()) for folder in (tmp_path, right[0]))
        for mine, theirs in zip(one["fluxes"], other["fluxes"], strict=True):
            assert mine["truth"] == theirs["truth"]
            assert mine["mean"] == pytest.approx(theirs["mean"], abs=0.05 * theirs["sd"])


def test_a_folder_of_another_calibration_is_refused(right):
    folder = right[0]
    others = ((two_stars(2.0), SETTINGS, {}), (two_stars(), ss.RunSettings(), {}),
              (two_stars(), SETTINGS, {"truth_from": two_stars(2.0)}))  # fmt: skip
    for model, settings, more in others:
        with pytest.raises(ss.ConfigError, match="another scene, model or settings"):
            ss.calibrate(model, folder, 2, settings, workers=1, **more)


def test_a_scene_file_cut_short_is_named(right, tmp_path):
    (tmp_path / "settings.json").write_bytes((right[0] / "settings.json").read_bytes())
    scene_file(tmp_path, 0).parent.mkdir()
    scene_file(tmp_path, 0).write_text('{"scene": 0, "sta')
    with pytest.raises(ss.FileFormatError, match=r"00000\.json: not complete.*delete it"):
        ss.calibrate(two_stars(), tmp_path, 1, SETTINGS, workers=1)


def test_sizes_out_of_range_and_truths_of_other_sources_are_refused(tmp_path):
    with pytest.raises(ss.ConfigError, match="num_scenes is 0"):
        ss.calibrate(two_stars(), tmp_path, 0)
    with pytest.raises(ss.ConfigError, match="workers 0"):
        ss.calibrate(two_stars(), tmp_path, workers=0)
    model = two_stars()
    fixed = ss.Posterior(model.scene, model.observation, flux=dist.Normal(FLUX, 60.0), background=dist.Normal(0.0, 0.3),
                         priors={"star_0.center": None})  # fmt: skip
    with pytest.raises(ss.ConfigError, match="other free parameters"):
        ss.calibrate(model, tmp_path, truth_from=fixed)
    assert not list(tmp_path.iterdir())


def test_too_few_draws_for_a_verdict_are_undecided_and_written(tmp_path):
    few = ss.RunSettings(sampler="hmc", chains=2, warmup=10, draws=8, max_draws=0)
    found = ss.calibrate(two_stars(), tmp_path, 2, few, workers=1)
    assert found.status == "undecided"
    assert "2 of 2 scenes have too few draws for a verdict" in found.reasons[0]
    assert "no group" in repr(found) and "0 of 2 scenes used" in repr(found)
    assert (tmp_path / "calibration.png").exists()


def test_one_scene_is_written_too(tmp_path):
    found = ss.calibrate(two_stars(), tmp_path, 1, SETTINGS, workers=1)
    assert found.status == "undecided" and len(found.table) == 4 and found.groups.empty
    assert (tmp_path / "calibration.png").exists() and "no group" in repr(found)


def test_a_scene_that_failed_is_tried_again(tmp_path, monkeypatch):
    def broken(*arguments):
        raise MemoryError("no room")

    monkeypatch.setattr(calibration_workers, "calibrate_scene", broken)
    found = ss.calibrate(two_stars(), tmp_path, 2, SETTINGS, workers=1)
    assert "2 of 2 scenes failed, the first: failed: no room" in found.reasons
    monkeypatch.undo()
    found = ss.calibrate(two_stars(), tmp_path, 2, SETTINGS, workers=1)
    assert not any("failed" in reason for reason in found.reasons)


def test_chains_begin_where_the_settings_say_and_end_when_they_say(monkeypatch):
    asked, real = [], pipeline_draws.dispersed_starts

    def noted(*arguments, **more):
        asked.append(arguments[3])
        return real(*arguments, **more)

    monkeypatch.setattr(pipeline_draws, "dispersed_starts", noted)

    def status(**more):
        settings = dataclasses.replace(SETTINGS, max_draws=0, **more)
        return simulate_scene(jax.random.key(3), two_stars(), settings, np.zeros(2), two_stars()).draws.status

    assert status() == "done" and not asked
    assert status(starts="dispersed") == "done" and asked == [4]
    assert status(max_seconds=1e-3).startswith("out of time")


def test_scenes_that_all_failed_are_written_too(tmp_path):
    broken = {"status": "failed: no light", "ess": None, "fluxes": [], "others": {}}
    found = judge([{"scene": k} | broken for k in range(3)])
    write_calibration(tmp_path, found, {"fingerprint": ""})
    assert report_of(found)["scenes"] == {"simulated": 3, "used": 0, "converged": 0}
    assert (
        "3 of 3 scenes failed, the first: failed: no light"
        in json.loads((tmp_path / "calibration.json").read_text())["reasons"]
    )

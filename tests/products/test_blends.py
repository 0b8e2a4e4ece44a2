"""A study of a gallery: tiny scenes from simulation to report, and a baseline's operator."""

import dataclasses
import importlib.util
import json

import numpy as np
import pytest

import scoresample as ss
from scoresample.diagnostics.blend_report import judge_blends
from scoresample.products import blends, blends_methods
from scoresample.products.blends import bench_blends, keep_blend
from scoresample.products.blends_constrained import fall_from_center, monotonic_layers
from scoresample.products.blends_files import read_results, result_file, scene_path
from scoresample.products.blends_scene import Estimate, from_draws, from_normal, measure, read_truth
from scoresample.training.gallery import Gallery, write_gallery_scene

TINY = Gallery(seed=2, bands="i", side=30, most=2)
SETTINGS = ss.RunSettings(chains=2, warmup=10, draws=20, max_draws=0, max_steps=20)
NUM_ORACLE = 40


@pytest.fixture(scope="module")
def oracle(tmp_path_factory):
    """The oracle on many scenes, and the folder."""
    folder = tmp_path_factory.mktemp("gallery")
    return folder, bench_blends(folder, NUM_ORACLE, TINY, SETTINGS, methods=["oracle"], workers=1)


@pytest.fixture(scope="module")
def compared(tmp_path_factory):
    """All methods of ours on one scene, and the folder."""
    folder = tmp_path_factory.mktemp("compared")
    names = ["oracle", "posterior", "parametric", "map:bright"]
    return folder, bench_blends(folder, 1, TINY, SETTINGS, methods=names, workers=1)


def of_all(intervals):
    return intervals[(intervals["group"] == "all") & (intervals["bands"] == "i")].iloc[0]


def test_intervals_of_the_oracle_are_right(oracle):
    found = of_all(oracle[1].intervals)
    assert abs(found["coverage_68"] - 0.68) < 4 * found["coverage_68_error"]
    assert abs(found["pull_width"] - 1) < 4 * found["pull_width_error"]
    assert found["pull_width_error"] < 0.12


def test_that_test_sees_a_truth_off_by_a_third(oracle):
    folder, _ = oracle
    results = read_results(folder, ["oracle"], NUM_ORACLE)
    for result in results:
        for row in result["objects"]["oracle"]:
            flux, sd, truth = (np.array(row[name]) for name in ("flux", "sd", "truth"))
            row["truth"] = (1.3 * truth).tolist()
            row["pit"] = [float((1.3 * truth > flux + 1.96 * sd)[0] or 0.5)]
    found = of_all(judge_blends(results).intervals)
    assert found["coverage_68"] < 0.68 - 4 * found["coverage_68_error"]
    assert found["pull_width"] > 2


def test_methods_find_the_sources_and_the_report_has_them_all(compared):
    folder, report = compared
    assert report.failed == 0
    assert list(report.table["estimate"].unique()) == [
        "oracle",
        "posterior",
        "map",
        "parametric",
        "map:bright",
    ]
    everything = report.groups[report.groups["group"] == "all"].set_index("estimate")
    # Of one scene's two fluxes any estimate may be nearer by chance, but who knows the profiles is more certain.
    objects = {name: read_results(folder, [name], 1)[0]["objects"][name] for name in ("oracle", "posterior")}
    sd = {name: np.array([row["sd"] for row in rows]) for name, rows in objects.items()}
    assert (sd["posterior"] > sd["oracle"]).all() and (sd["posterior"] < 10 * sd["oracle"]).all()
    assert (report.table["morphology"] > 0.5).all() and report.table["flux_error"].abs().median() < 0.5
    content = json.loads((folder / "blends.json").read_text())
    assert {row["estimate"] for row in content["groups"]} == set(everything.index)
    assert content["of"]["gallery"]["side"] == 30 and "jax" in content["versions"]
    for name in ("blends.png", "intervals.png"):
        assert (folder / name).read_bytes()[:4] == b"\x89PNG"
    assert (folder / "blends.csv").read_text().count("\n") == 1 + len(report.table)


def test_a_start_that_is_too_bright_changes_nothing(compared):
    table = compared[1].table.set_index(["scene", "object"])
    map_, bright = (table[table["estimate"] == name] for name in ("map", "map:bright"))
    np.testing.assert_allclose(bright["flux_error"], map_["flux_error"], rtol=1e-6)


def test_a_study_goes_on_with_more_methods_and_leaves_what_is_there(compared):
    folder, _ = compared
    kept = result_file(folder, "posterior", 0)
    before = kept.stat().st_mtime_ns
    report = bench_blends(folder, 3, TINY, SETTINGS, methods=["oracle"], workers=1)
    assert kept.stat().st_mtime_ns == before and scene_path(folder, 2).exists()
    assert report.table["scene"].nunique() == 3


def test_a_scene_whose_time_is_over_says_so_in_the_same_study(compared):
    folder, _ = compared
    hurried = dataclasses.replace(SETTINGS, max_seconds=0.01)
    report = bench_blends(folder, 2, TINY, hurried, methods=["posterior"], workers=1)
    assert report.table["scene"].nunique() == 2  # both have a MAP
    first, second = (found["status"] for found in read_results(folder, ["posterior"], 2))
    assert first == "done" and second.startswith("out of time")


def test_a_folder_of_another_study_and_bad_methods_are_refused(compared, tmp_path, monkeypatch):
    folder, _ = compared
    refused = pytest.raises(ss.ConfigError, match="another gallery, prior or settings")
    with refused:
        bench_blends(folder, 2, Gallery(seed=9, bands="i", side=30, most=2), SETTINGS, methods=["oracle"])
    with monkeypatch.context() as changed, refused:  # the same name, other weights
        changed.setattr(blends, "prior_hash", lambda name: "of other weights")
        bench_blends(folder, 2, TINY, SETTINGS, methods=["oracle"])
    for name in ("none", "oracle:bright", "posterior:none", "posterior:"):
        with pytest.raises(ss.ConfigError, match="there is no method"):
            bench_blends(tmp_path, 2, TINY, SETTINGS, methods=[name])
    with pytest.raises(ss.ConfigError, match="num_scenes is 0"):
        bench_blends(tmp_path, 0, TINY, SETTINGS)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ss.ConfigError, match="needs proxmin; run pip install proxmin"):
        bench_blends(tmp_path, 2, TINY, SETTINGS, methods=["constrained"])
    assert "constrained" not in blends.installed(blends.USUAL)
    assert not list(tmp_path.iterdir())


def test_a_scene_that_fails_says_why_and_others_go_on(tmp_path, monkeypatch):
    def broken(*arguments):
        raise ss.DataError("no light\nat all")

    monkeypatch.setitem(blends.METHODS, "oracle", blends.Method(broken))
    keep_blend(blends.Study(tmp_path, TINY, SETTINGS), (0, ("oracle",)))
    found = read_results(tmp_path, ["oracle"], 1)[0]
    assert found["status"] == "failed: no light at all" and found["objects"] == {}
    monkeypatch.undo()
    bench_blends(tmp_path, 1, TINY, SETTINGS, methods=["oracle"], workers=1)  # tries again
    assert read_results(tmp_path, ["oracle"], 1)[0]["status"] == "done"


def test_variants_start_elsewhere_or_have_free_centers(tmp_path):
    path = tmp_path / "scene.npz"
    write_gallery_scene(path, TINY, 1)
    truth, rng = read_truth(path), np.random.default_rng(0)
    usual, bright, flat, blobs, offset, limited = (
        blends_methods.lay_out(path, truth, SETTINGS, name, rng)
        for name in ("", "bright", "flat", "blobs", "offset", "limited")
    )
    np.testing.assert_allclose(bright.scene.flux, 20 * usual.scene.flux)
    assert np.ptp(np.asarray(flat.scene.flux)) == 0
    images = {name for name in usual.scene.parameters if name.endswith(".image")}
    assert images and all((blobs.scene.parameters[n] != usual.scene.parameters[n]).any() for n in images)
    assert usual.flux_prior.end is None
    assert limited.flux_prior.end.least == -2.0
    free = {parameter.name for parameter in offset.parameters}
    assert {f"{source.name}.center" for source in offset.scene.sources} <= free
    first = {source.object_name: np.asarray(source.center) for source in offset.scene.sources}
    apart = np.hypot(*(np.stack(list(first.values())) - truth.centers).T)
    np.testing.assert_allclose(apart, 0.5, atol=1e-5)


def test_normal_errors_and_draws_of_them_are_scored_alike(oracle, seed_shift):
    truth = read_truth(scene_path(oracle[0], 0))
    rng = np.random.default_rng(seed_shift)
    sd = 0.1 * truth.flux
    flux = truth.flux + 0.7 * sd
    exact = from_normal(flux, sd, truth.images, truth)
    drawn = from_draws(flux + sd * rng.normal(size=(20_000, *sd.shape)), truth.images, truth, rng)
    np.testing.assert_allclose(exact.pit, drawn.pit, atol=0.02)
    np.testing.assert_allclose(exact.crps / sd, drawn.crps / sd, atol=0.03)
    np.testing.assert_allclose(exact.crps_expected / sd, drawn.crps_expected / sd, atol=0.03)
    rows = measure(Estimate(truth.flux, truth.images), truth)
    assert all(row["flux_error"] == 0 and row["morphology"] > 1 - 1e-12 for row in rows)


def test_images_made_to_fall_do_and_those_that_fall_are_left(seed_shift):
    rng = np.random.default_rng(seed_shift)
    y, x = np.indices((9, 9)) - 4
    galaxy = np.exp(-0.5 * (y**2 + x**2) / 4)
    np.testing.assert_allclose(fall_from_center(galaxy), galaxy)
    ring = galaxy + np.exp(-((np.hypot(y, x) - 3.5) ** 2))
    fallen = fall_from_center(ring)
    assert (fallen <= ring).all() and (fallen < ring).any()
    noisy = fall_from_center(rng.uniform(size=(9, 9)))
    np.testing.assert_allclose(fall_from_center(noisy), noisy)
    assert noisy[4, 4] == noisy.max()
    covered = np.concatenate([layer.pixels for layer in monotonic_layers(9)])
    assert sorted(covered) == sorted(set(range(81)) - {40})


def test_scarlet2_fits(tmp_path):
    pytest.importorskip("scarlet2", reason="optional: pip install scarlet2")
    report = bench_blends(tmp_path, 1, TINY, SETTINGS, methods=["scarlet2"], workers=1)
    assert report.failed == 0 and report.table["morphology"].min() > 0.8


def test_the_constrained_fit_fits(tmp_path):
    pytest.importorskip(
        "proxmin", reason="the constrained baseline is optional: pip install 'scoresample[bench]'"
    )
    report = bench_blends(
        tmp_path, 1, TINY, SETTINGS, methods=["constrained", "constrained:bright"], workers=1
    )
    assert report.failed == 0 and report.table["morphology"].min() > 0.8

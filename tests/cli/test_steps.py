"""The steps of a run one at a time lead to what the run writes."""

import json
import shutil

import numpy as np
import pytest

from scoresample.products.archive import load_draws
from scoresample.products.tables import read_flux_catalog

SAMPLING = (
    "--sampler",
    "mala",
    "--chains",
    "2",
    "--warmup",
    "50",
    "--draws",
    "75",
    "--max-draws",
    "0",
    "--quiet",
)


def test_steps_one_at_a_time_lead_to_what_run_writes(scoresample, tiny, finished, tmp_path):
    result = scoresample("map", tiny, "-o", tmp_path, "--quiet")
    assert result.exit_code == 0
    assert "MAP: converged" in result.stdout
    assert scoresample("plot", tiny, "-o", tmp_path).stdout.rstrip().endswith("of map.npz")
    assert scoresample("sample", tiny, "-o", tmp_path, *SAMPLING, "--images", "all").exit_code == 0
    judged = scoresample("diagnose", tiny, "-o", tmp_path)
    assert judged.exit_code == 1
    assert "flux[galaxy_0, g]" in judged.stdout
    assert "Verdict: NOT converged" in judged.stdout
    assert scoresample("catalog", tiny, "-o", tmp_path).exit_code == 1
    assert scoresample("plot", tiny, "-o", tmp_path).stdout.rstrip().endswith("of draws.nc")
    assert {path.name for path in tmp_path.iterdir()} == {path.name for path in finished[0].iterdir()}
    same_catalogs(tmp_path, finished[0], images_alike=True)
    reports = [json.loads((folder / "report.json").read_text()) for folder in (tmp_path, finished[0])]
    bands = [report["chi2"].pop("bands") for report in reports]
    assert bands[0] == bands[1]
    assert reports[0]["chi2"] == pytest.approx(reports[1]["chi2"])
    assert reports[0]["map"] == reports[1]["map"]
    for rows in zip(*(report["fit"]["bands"] for report in reports), strict=True):
        assert rows[0].pop("band") == rows[1].pop("band")
        assert rows[0] == pytest.approx(rows[1], rel=1e-3)  # fluxes drawn with one key, of the same draws
    for what in ("confidence", "light_from_data"):
        one, two = ({k: v for k, v in report[what].items() if v is not None} for report in reports)
        assert one == pytest.approx(two, rel=1e-3) and one
    pictures = [
        (folder / "report.html").read_text().count("data:image/png") for folder in (tmp_path, finished[0])
    ]
    assert pictures == [3, 3]
    for rows in zip(*(report["fluxes"] + report["verdict"]["table"] for report in reports), strict=True):
        assert rows[0] == pytest.approx(rows[1])  # stored arrays lie otherwise in memory, and sum otherwise


def test_draws_that_nothing_accepts_or_rejects_are_called_unadjusted(scoresample, tiny, finished, tmp_path):
    shutil.copy(finished[0] / "map.npz", tmp_path)
    scoresample("sample", tiny, "-o", tmp_path, *SAMPLING, "--sampler", "underdamped")
    judged = scoresample("diagnose", tiny, "-o", tmp_path)
    assert judged.stdout.count("note: the draws are unadjusted") == 1
    assert json.loads((tmp_path / "report.json").read_text())["settings"]["unadjusted"] is True


def test_the_prior_of_the_map_and_its_noise_level_are_kept(scoresample, tiny, tmp_path):
    result = scoresample(
        "map",
        tiny,
        "-o",
        tmp_path,
        "--quiet",
        "--max-steps",
        "5",
        "--prior",
        "galaxies",
        "--noise-level",
        "0.5",
    )
    assert "MAP: " in result.stdout
    few = (
        "--sampler",
        "mala",
        "--chains",
        "1",
        "--warmup",
        "0",
        "--draws",
        "3",
        "--max-draws",
        "0",
        "--quiet",
    )
    scoresample("sample", tiny, "-o", tmp_path, *few)
    note = json.loads(load_draws(tmp_path / "draws.nc").attrs["settings"])
    assert note["run"]["prior"] == "galaxies"
    assert note["input"]["prior"]["name"] == "galaxies"
    assert note["run"]["noise_level"] == note["input"]["prior"]["noise_level"] == 0.5


def test_catalog_and_diagnosis_again_from_the_thinned_draws_of_a_run(scoresample, tiny, finished, tmp_path):
    for name in ("map.npz", "draws.nc"):
        shutil.copy(finished[0] / name, tmp_path / name)
    scoresample("catalog", tiny, "-o", tmp_path)
    same_catalogs(tmp_path, finished[0], images_alike=False)
    judged = scoresample("diagnose", tiny, "-o", tmp_path)
    assert "flux[galaxy_0, g]" in judged.stdout
    assert "image" not in judged.stdout  # every tenth of them cannot say whether they mixed


def test_the_images_kept_are_those_asked_for(scoresample, tiny, finished, tmp_path, one_line_error):
    assert "posterior_images" in load_draws(finished[0] / "draws.nc").children
    shutil.copy(finished[0] / "map.npz", tmp_path / "map.npz")
    scoresample("sample", tiny, "-o", tmp_path, *SAMPLING, "--images", "none")
    tree = load_draws(tmp_path / "draws.nc")
    assert "posterior_images" not in tree.children
    assert "galaxy_0.image" not in tree["posterior"]
    one_line_error(scoresample("catalog", tiny, "-o", tmp_path), "no images", "--images thin")
    assert scoresample("diagnose", tiny, "-o", tmp_path).exit_code == 1
    assert json.loads((tmp_path / "report.json").read_text())["fit"] is None
    assert "the fit was not checked" in (tmp_path / "report.html").read_text().lower()


@pytest.mark.parametrize("step", ["sample", "diagnose", "catalog", "plot"])
def test_a_step_without_the_one_before_says_which(scoresample, tiny, tmp_path, one_line_error, step):
    before = "map" if step in ("sample", "plot") else "sample"
    one_line_error(scoresample(step, tiny, "-o", tmp_path), f"scoresample {before}")


@pytest.mark.parametrize("step", ["sample", "diagnose", "catalog", "plot"])
def test_a_step_with_another_scene_is_an_error(
    scoresample, write_tiny, finished, tmp_path, one_line_error, step
):
    other = write_tiny(tmp_path / "other.npz", seed=1)
    one_line_error(scoresample(step, other, "-o", finished[0]), "another file", "other.npz")


@pytest.mark.parametrize(("step", "name"), [("sample", "map.npz"), ("catalog", "draws.nc")])
def test_a_damaged_file_of_an_earlier_step_is_an_error(
    scoresample, tiny, finished, tmp_path, one_line_error, step, name
):
    for kept in ("map.npz", "draws.nc"):
        shutil.copy(finished[0] / kept, tmp_path / kept)
    (tmp_path / name).write_bytes((finished[0] / name).read_bytes()[:2000])
    one_line_error(scoresample(step, tiny, "-o", tmp_path), name)


def same_catalogs(one, two, *, images_alike):
    tables = [read_flux_catalog(folder / "fluxes.fits") for folder in (one, two)]
    assert tables[0].colnames == tables[1].colnames
    for name in tables[0].colnames:
        if name in ("confidenceErr", "peakOffset") and not images_alike:
            continue  # the scatter of other draws, and whole pixels
        from_images = name in ("blendedness", "confidence", "lightFromData")
        a, b = (np.asarray(getattr(table[name], "value", table[name])) for table in tables)
        if from_images and not images_alike:
            np.testing.assert_allclose(a, b, rtol=0.5, err_msg=name)
        elif a.dtype.kind == "f":
            np.testing.assert_allclose(a, b, rtol=1e-5, err_msg=name)
        else:
            np.testing.assert_array_equal(a, b, err_msg=name)

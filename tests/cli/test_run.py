"""`scoresample run` on one scene: files, report, exit status, interruption and resumption."""

import json
import time

import jax
import numpy as np
import pytest
from astropy.table import QTable

from scoresample.products.archive import load_draws
from scoresample.products.tables import read_flux_catalog
from scoresample.samplers import chunks, endings

FILES = {
    "draws.nc", "fit.png", "flux_draws.fits", "fluxes.ecsv", "fluxes.fits", "hallucination.png",
    "map.npz", "report.html", "report.json", "scene.png",
}  # fmt: skip


def fluxes(folder):
    return np.asarray(load_draws(folder / "draws.nc")["posterior"]["flux"])


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def interrupt(monkeypatch):
    """Press Ctrl-C at the n-th compiled piece of warm-up or draws."""

    def at(piece, number):
        real, calls = getattr(chunks, piece), []

        def counted(*arguments):
            calls.append(piece)
            if len(calls) == number:
                raise KeyboardInterrupt
            return real(*arguments)

        monkeypatch.setattr(chunks, piece, counted)

    return at


def test_a_run_writes_every_file_and_leaves_no_checkpoint(finished):
    out, result = finished
    assert {path.name for path in out.iterdir()} == FILES
    assert result.exit_code == 1  # so few draws cannot converge
    assert "tiny: done, NOT converged" in result.stdout
    assert result.stderr == ""


def test_the_report_says_what_was_done_and_how_it_fits(finished, tiny):
    report = json.loads((finished[0] / "report.json").read_text())
    assert report["status"] == "done"
    assert report["map"]["status"] == "converged"
    assert report["input"]["file"] == tiny.name
    assert len(report["input"]["sha256"]) == len(report["input"]["prior"]["sha256"]) == 64
    assert report["verdict"]["reasons"]
    assert 0.7 < report["chi2"]["all"] < 1.1
    assert report["chi2"]["all"] == pytest.approx(np.mean(list(report["chi2"]["bands"].values())))
    assert report["chi2"]["effective_parameters"] > 4 * 2  # fluxes of four objects at least, in two bands
    assert report["chi2"]["all"] < report["chi2"]["reduced"] < 1.25
    for value in report["background"].values():
        assert value["mean"] == pytest.approx(0.02, abs=6 * value["sd"])
    assert {"read", "map", "sample", "diagnose", "catalog"} <= set(report["seconds"])
    assert {"python", "jax", "scoresample"} <= set(report["versions"])
    assert report["settings"]["run"]["sampler"] == "mala"
    assert len(report["fluxes"]) == 4
    for row in report["fluxes"]:
        assert row["mean"] == pytest.approx(row["truth"], abs=6 * row["sd"] + 0.1 * row["truth"])


def test_the_fit_is_checked_and_the_page_shows_it(finished):
    out, result = finished
    report = json.loads((out / "report.json").read_text())
    assert report["fit"]["passed"] and "fit: residuals look like noise in every band" in result.stdout
    assert [row["band"] for row in report["fit"]["bands"]] == ["g", "r"]
    for row in report["fit"]["bands"]:
        assert (
            row["chi2"] == pytest.approx(1, abs=5 * np.sqrt(2 / row["pixels"])) and row["pixels"] == 24 * 24
        )
    page = (out / "report.html").read_text()
    assert page.count("data:image/png;base64,") == 3
    assert page.index("not converged, not to be used as it is") < page.index(
        "Residuals of 100 draws look like noise"
    )


def test_both_catalogs_hold_the_same_and_agree_with_the_draws(finished):
    fits = read_flux_catalog(finished[0] / "fluxes.fits")
    ecsv = QTable.read(finished[0] / "fluxes.ecsv")
    assert fits.colnames == ecsv.colnames
    assert len(fits) == 2
    flux = fluxes(finished[0])
    for b, band in enumerate("gr"):
        np.testing.assert_allclose(fits[f"{band}_flux"].value, flux[..., b].mean(axis=(0, 1)), rtol=1e-4)
        np.testing.assert_array_equal(fits[f"{band}_flux"].value, ecsv[f"{band}_flux"].value)
    assert list(fits["status"]) == ["done", "done"]


def test_the_same_settings_give_the_same_draws_and_another_seed_others(
    scoresample, tiny, fast, finished, tmp_path
):
    scoresample("run", tiny, "-o", tmp_path / "again", *fast)
    scoresample("run", tiny, "-o", tmp_path / "other", *fast, "--seed", 8)
    np.testing.assert_array_equal(fluxes(tmp_path / "again"), fluxes(finished[0]))
    assert np.abs(fluxes(tmp_path / "other") - fluxes(finished[0])).max() > 0.1


def test_a_second_scene_of_the_same_shapes_compiles_nothing_anew(
    scoresample, write_tiny, fast, finished, tmp_path, compilations
):
    other = write_tiny(tmp_path / "other.npz", seed=5)
    before = compilations()
    scoresample("run", other, "-o", tmp_path / "out", *fast)
    assert compilations() == before
    scoresample("run", other, "-o", tmp_path / "more", *fast, "--chains", 3)
    assert compilations() > before


@pytest.mark.parametrize(("piece", "number"), [("warm_up", 2), ("draw", 2)])
def test_a_resumed_run_gives_the_draws_of_an_uninterrupted_one(
    scoresample, tiny, fast, finished, tmp_path, interrupt, monkeypatch, piece, number
):
    interrupt(piece, number)
    result = scoresample("run", tiny, "-o", tmp_path, *fast)
    assert result.exit_code == 1
    assert (tmp_path / "checkpoint.npz").exists()
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["status"] == "interrupted"
    kept = 25 * (number - 1) if piece == "draw" else 0
    assert report["settings"]["num_kept"] == kept
    assert len(read_flux_catalog(tmp_path / "fluxes.fits")) == 2
    monkeypatch.undo()
    result = scoresample("run", tiny, "-o", tmp_path, *fast, "--resume")
    assert "tiny: done" in result.stdout
    np.testing.assert_array_equal(fluxes(tmp_path), fluxes(finished[0]))
    assert not (tmp_path / "checkpoint.npz").exists()


def test_a_run_out_of_time_keeps_its_draws_and_goes_on_with_more(
    scoresample, tiny, fast, finished, tmp_path, monkeypatch
):
    begun, pieces = time.perf_counter, []

    def draw(*arguments):
        pieces.append(1)
        return real(*arguments)

    real = chunks.draw
    monkeypatch.setattr(chunks, "draw", draw)
    monkeypatch.setattr(endings.time, "perf_counter", lambda: begun() + 1000 * (len(pieces) >= 2))
    result = scoresample("run", tiny, "-o", tmp_path, *fast, "--max-seconds", 900)
    monkeypatch.undo()
    assert result.exit_code == 1
    assert "tiny: out of time: " in result.stdout and "after 50 of 75 draws" in result.stdout
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["settings"]["num_kept"] == 50
    assert list(read_flux_catalog(tmp_path / "fluxes.fits")["status"]) == [report["status"]] * 2
    np.testing.assert_array_equal(fluxes(tmp_path), fluxes(finished[0])[:, :50])
    result = scoresample("run", tiny, "-o", tmp_path, *fast, "--resume")
    assert "tiny: done" in result.stdout
    np.testing.assert_array_equal(fluxes(tmp_path), fluxes(finished[0]))


@pytest.fixture
def freeze(monkeypatch):
    """Make the second chain stand still, as seen after each compiled piece of warm-up or draws."""

    def in_pieces_of(piece):
        real = getattr(chunks, piece)

        def still(leaf):
            leaf = np.array(leaf)
            leaf[:, 1] = 0.5
            return leaf

        def frozen(*arguments):
            if piece == "warm_up":
                states, adapting, positions, acceptance = real(*arguments)
                return states, adapting, jax.tree.map(still, positions), acceptance
            states, (position, derived, stats) = real(*arguments)
            return states, (jax.tree.map(still, position), derived, stats)

        monkeypatch.setattr(chunks, piece, frozen)

    return in_pieces_of


@pytest.mark.parametrize(("piece", "kept"), [("warm_up", 0), ("draw", 100)])
def test_a_run_that_cannot_go_on_says_why_and_keeps_its_draws(
    scoresample, tiny, fast, tmp_path, freeze, piece, kept
):
    freeze(piece)
    result = scoresample("run", tiny, "-o", tmp_path, *fast, "--warmup", 150, "--draws", 200)
    assert result.exit_code == 1
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["status"].startswith("stopped: chain 1 did not move for 100 steps, at a step size of ")
    assert f"tiny: {report['status']}" in result.stdout
    assert any(report["status"] in reason for reason in report["verdict"]["reasons"])
    assert not report["verdict"]["converged"] and report["settings"]["num_kept"] == kept
    assert report["status"] in (tmp_path / "report.html").read_text()
    table = read_flux_catalog(tmp_path / "fluxes.fits")
    assert list(table["status"]) == [report["status"]] * 2 and table["flag_notConverged"].all()
    assert table["nDraws"].tolist() == [2 * kept] * 2
    assert np.isfinite(table["g_flux"].value).all() == (kept > 0)
    assert fluxes(tmp_path).shape == (2, kept, 2, 2)


def test_dispersed_starts_are_reported_and_a_resumed_run_has_the_same(
    scoresample, tiny, fast, finished, tmp_path, interrupt, monkeypatch
):
    dispersed = (*fast, "--starts", "dispersed")
    result = scoresample("run", tiny, "-o", tmp_path / "whole", *dispersed)
    assert "tiny: done" in result.stdout
    assert {path.name for path in (tmp_path / "whole").iterdir()} == FILES
    report = json.loads((tmp_path / "whole" / "report.json").read_text())
    starts = report["settings"]["starts"]
    assert len(starts["kept"]) == len(starts["below"]) == 2
    assert (
        starts["kept"] == [True, True] and max(map(abs, starts["below"])) < 2
    )  # a galaxy and a star: one mode
    assert not np.array_equal(fluxes(tmp_path / "whole"), fluxes(finished[0]))
    interrupt("draw", 2)
    scoresample("run", tiny, "-o", tmp_path, *dispersed)
    assert (tmp_path / "starts.npz").exists()
    monkeypatch.undo()
    monkeypatch.setattr("scoresample.products.pipeline_draws.dispersed_starts", None)  # not found again
    scoresample("run", tiny, "-o", tmp_path, *dispersed, "--resume")
    np.testing.assert_array_equal(fluxes(tmp_path), fluxes(tmp_path / "whole"))
    assert not (tmp_path / "starts.npz").exists()


def test_without_time_for_the_map_the_run_writes_rows_without_fluxes(scoresample, tiny, fast, tmp_path):
    result = scoresample("run", tiny, "-o", tmp_path, *fast, "--max-seconds", 1e-3)
    assert result.exit_code == 1
    assert "MAP: out of time after 0 steps" in result.stdout
    table = read_flux_catalog(tmp_path / "fluxes.fits")
    assert len(table) == 2
    assert all(status.startswith("out of time") for status in table["status"])
    assert np.isnan(table["g_flux"].value).all()


def test_resume_leaves_a_finished_run_as_it_is_and_without_it_the_run_starts_anew(
    scoresample, tiny, fast, finished, tmp_path, interrupt
):
    before = contents(finished[0])
    result = scoresample("run", tiny, "-o", finished[0], *fast, "--resume")
    assert result.stdout == finished[1].stdout
    assert contents(finished[0]) == before
    interrupt("draw", 2)
    scoresample("run", tiny, "-o", tmp_path, *fast)
    (tmp_path / "checkpoint.npz").write_bytes(b"not read")
    scoresample("run", tiny, "-o", tmp_path, *fast)
    np.testing.assert_array_equal(fluxes(tmp_path), fluxes(finished[0]))


def test_resume_with_other_settings_is_an_error(scoresample, tiny, fast, tmp_path, interrupt, one_line_error):
    interrupt("draw", 2)
    scoresample("run", tiny, "-o", tmp_path, *fast)
    before = contents(tmp_path)
    one_line_error(scoresample("run", tiny, "-o", tmp_path, *fast, "--seed", 8, "--resume"), "checkpoint")
    one_line_error(
        scoresample("run", tiny, "-o", tmp_path, *fast, "--no-background", "--resume"), "background"
    )
    assert contents(tmp_path) == before


def test_an_interrupted_climb_keeps_earlier_results(scoresample, tiny, fast, finished, tmp_path, monkeypatch):
    (tmp_path / "report.json").write_text("earlier")
    monkeypatch.setattr("scoresample.samplers.optimize.Climber.init", _pressed)
    result = scoresample("run", tiny, "-o", tmp_path, *fast)
    assert result.exit_code == 1
    assert "interrupted" in result.stdout
    assert (tmp_path / "report.json").read_text() == "earlier"
    monkeypatch.undo()
    scoresample("run", tiny, "-o", tmp_path, *fast, "--resume")
    np.testing.assert_array_equal(fluxes(tmp_path), fluxes(finished[0]))


def _pressed(*arguments):
    raise KeyboardInterrupt


def test_a_fits_scene_gives_the_catalog_of_the_same_scene_in_npz(
    scoresample, write_tiny, finished, fast, tmp_path
):
    path = write_tiny(tmp_path / "tiny.fits")
    result = scoresample("run", path, "-o", tmp_path / "out", *fast)
    assert "tiny: done" in result.stdout
    assert {p.name for p in (tmp_path / "out").iterdir()} == FILES
    one, other = (read_flux_catalog(folder / "fluxes.fits") for folder in (finished[0], tmp_path / "out"))
    for name in ("g_flux", "r_fluxErr"):
        np.testing.assert_allclose(other[name].value, one[name].value, rtol=1e-3)
    np.testing.assert_array_equal(other["objectId"], one["objectId"])


def test_fluxes_with_an_end_are_sampled_kept_and_judged_again(scoresample, tiny, fast, tmp_path):
    """Offsets of fluxes are kept of the same draws as images, and later steps read them."""
    out = tmp_path / "out"
    scoresample("run", tiny, "-o", out, *fast, "--least-flux", "-2")
    report = json.loads((out / "report.json").read_text())
    assert report["settings"]["run"]["least_flux"] == -2
    kept = load_draws(out / "draws.nc")
    offsets = np.asarray(kept["posterior_images"]["flux_offsets"], float)
    assert offsets.shape[2:] == (2, 3)
    assert 0.5 < offsets.std() < 1.5
    before = read_flux_catalog(out / "fluxes.fits")
    scoresample("diagnose", tiny, "-o", out)
    scoresample("catalog", tiny, "-o", out)
    after = read_flux_catalog(out / "fluxes.fits")
    np.testing.assert_array_equal(before["g_flux"], after["g_flux"])

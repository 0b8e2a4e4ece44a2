"""Several scenes in one run: one that fails does not stop the rest, and every source has a row."""

import astropy.units as u
import numpy as np
import pytest

from scoresample.products.pipeline_scenes import combine
from scoresample.products.tables import read_flux_catalog
from scoresample.samplers import chunks


@pytest.fixture
def three(write_tiny, tmp_path):
    """Two good scenes, and between them one with a NaN."""
    paths = [write_tiny(tmp_path / f"scene_{k}.npz", seed=k) for k in range(3)]
    with np.load(paths[1]) as archive:
        arrays = dict(archive)
    arrays["images"][0, 3, 4] = np.nan
    np.savez(paths[1], **arrays)
    return paths


def test_one_broken_scene_of_three_has_its_rows_and_the_rest_is_done(scoresample, three, fast, tmp_path):
    out = tmp_path / "out"
    result = scoresample("run", *three, "-o", out, *fast)
    assert result.exit_code == 1
    assert result.stderr.startswith("error: scene_1.npz: ")
    assert result.stderr.count("\n") == 1
    assert {path.name for path in out.iterdir()} == {"scene_0", "scene_2", "fluxes.fits", "fluxes.ecsv"}
    table = read_flux_catalog(out / "fluxes.fits")
    assert list(table["sceneId"]) == ["scene_0"] * 2 + ["scene_1"] * 2 + ["scene_2"] * 2
    assert list(table["objectId"]) == ["0", "1"] * 3
    assert [status.split(":")[0] for status in table["status"]] == ["done"] * 2 + ["failed"] * 2 + [
        "done"
    ] * 2
    assert "not finite" in table["status"][2]
    failed = np.isin(table["sceneId"], ["scene_1"])
    for name in ("g_flux", "r_fluxErr", "flux_Cov"):
        np.testing.assert_array_equal(np.isnan(table[name].value).reshape(6, -1).all(axis=1), failed)
    assert table["flag_notConverged"][failed].all()
    np.testing.assert_allclose(table["x"][failed].value, [8.0, 15.0])
    for name in ("scene_0", "scene_2"):
        own = read_flux_catalog(out / name / "fluxes.fits")
        rows = table[table["sceneId"] == name]
        for column in own.colnames:
            np.testing.assert_array_equal(rows[column], own[column])


def test_a_scene_gives_the_same_alone_and_among_others_and_each_its_own_numbers(
    scoresample, three, fast, tmp_path
):
    scoresample("run", three[0], three[2], "-o", tmp_path / "both", *fast)
    scoresample("run", three[2], "-o", tmp_path / "alone", *fast)
    both, alone = (read_flux_catalog(tmp_path / name / "fluxes.fits") for name in ("both", "alone"))
    np.testing.assert_array_equal(both["g_flux"][2:], alone["g_flux"])


def test_ctrl_c_ends_the_scene_and_the_run_and_resume_does_the_rest(
    scoresample, write_tiny, fast, tmp_path, monkeypatch
):
    paths = [write_tiny(tmp_path / f"scene_{k}.npz", seed=k) for k in range(3)]
    real, calls = chunks.draw, []

    def counted(*arguments):
        calls.append(1)
        if len(calls) == 5:  # three pieces for the first scene
            raise KeyboardInterrupt
        return real(*arguments)

    monkeypatch.setattr(chunks, "draw", counted)
    result = scoresample("run", *paths, "-o", tmp_path / "out", *fast)
    assert result.exit_code == 1
    table = read_flux_catalog(tmp_path / "out" / "fluxes.fits")
    assert list(table["status"]) == ["done"] * 2 + ["interrupted"] * 2 + ["not run"] * 2
    assert list(table["nDraws"]) == [150, 150, 50, 50, 0, 0]
    monkeypatch.undo()
    before = (tmp_path / "out" / "scene_0" / "draws.nc").stat().st_mtime_ns
    scoresample("run", *paths, "-o", tmp_path / "out", *fast, "--resume")
    assert list(read_flux_catalog(tmp_path / "out" / "fluxes.fits")["status"]) == ["done"] * 6
    assert (tmp_path / "out" / "scene_0" / "draws.nc").stat().st_mtime_ns == before


def test_when_every_scene_fails_nothing_is_written(scoresample, three, tmp_path):
    result = scoresample("run", three[1], tmp_path / "absent.npz", "-o", tmp_path / "out")
    assert result.exit_code == 2
    assert result.stderr.count("error: ") == 2
    assert not (tmp_path / "out").exists()


def test_two_scenes_of_one_name_are_an_error(scoresample, three, tmp_path, one_line_error):
    one_line_error(scoresample("run", three[0], three[0], "-o", tmp_path / "out"), "2 scene files", "scene_0")


def test_a_catalog_of_scenes_with_and_without_sky_flags_positions_that_are_not_known(finished):
    table = read_flux_catalog(finished[0] / "fluxes.fits")
    with_sky = table.copy()
    with_sky["ra"] = with_sky["dec"] = np.ones(len(table)) * u.deg
    if "ra" in table.colnames:
        table.remove_columns(["ra", "dec"])
    together = combine([with_sky, table], table.meta["bands"])
    assert together["flag_noPosition"].tolist() == [False] * len(table) + [True] * len(table)
    assert np.isnan(together["ra"].value).tolist() == together["flag_noPosition"].tolist()


def test_a_catalog_of_scenes_with_other_bands_flags_what_they_lack(finished):
    table = read_flux_catalog(finished[0] / "fluxes.fits")
    other = table.copy()
    other.meta = table.meta | {"bands": ["r", "z"]}
    for name in [name for name in table.colnames if name.startswith("g_")]:
        other.rename_column(name, f"z_{name[2:]}")
    together = combine([table, other], ["g", "r", "z"])
    assert len(together) == 4
    assert np.isnan(together["z_flux"][:2].value).all()
    assert np.isnan(together["g_flux"][2:].value).all()
    assert together["flag_noData"].all()
    np.testing.assert_array_equal(together["r_flux"][:2], table["r_flux"])
    np.testing.assert_array_equal(together["flux_Cov"][:2, :2, :2], table["flux_Cov"])
    np.testing.assert_array_equal(together["flux_Cov"][2:, 1:, 1:], other["flux_Cov"])
    assert np.isnan(together["flux_Cov"][:2, 2].value).all()
    assert together["z_flux"].unit == table["r_flux"].unit

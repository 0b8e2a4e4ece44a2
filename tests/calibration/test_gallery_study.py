"""The stored study of a gallery: what is kept is what was found, and it goes on with the same prior only."""

import pytest

from benchmarks import gallery
from scoresample.products.archive import save_report
from scoresample.products.blends_files import result_file

PRIOR = gallery.RunSettings().prior
EVERYTHING = (*gallery.METHODS, *gallery.VARIANTS, *gallery.GUESTS)


def write_results(folder, scenes):
    for method in EVERYTHING:
        for scene in scenes:
            result = {"scene": scene, "method": method, "seconds": 1.23456789, "objects": {}}
            save_report(result_file(folder, method, scene), result)


def test_results_are_kept_and_go_on_from_there(tmp_path, monkeypatch):
    monkeypatch.setattr(gallery, "STORED", tmp_path / "stored")
    write_results(tmp_path / "first", (3, 1))
    gallery.gather(PRIOR, tmp_path / "first", EVERYTHING)
    gallery.lay(PRIOR, tmp_path / "second", EVERYTHING)
    write_results(tmp_path / "second", (2,))
    gallery.gather(PRIOR, tmp_path / "second", EVERYTHING)
    for method in EVERYTHING:
        found = gallery.read_stored(method, PRIOR)
        assert list(found) == [1, 2, 3]
        assert found[1] == {"scene": 1, "method": method, "seconds": 1.2346, "objects": {}}
    with monkeypatch.context() as other:
        other.setattr(gallery, "prior_hash", lambda name: "of other tables")
        with pytest.raises(SystemExit, match="prior or other settings"):
            gallery.lay(PRIOR, tmp_path / "third", EVERYTHING)
    monkeypatch.setattr(gallery, "GALLERY", gallery.Gallery(seed=2))
    with pytest.raises(SystemExit, match="another gallery"):
        gallery.lay(PRIOR, tmp_path / "third", EVERYTHING)


def test_the_stored_study_can_be_judged():
    if not gallery.stored_file("oracle", PRIOR).exists():
        pytest.skip("nothing is stored")
    report = gallery.judge_stored(PRIOR)
    assert report.failed == 0
    assert set(gallery.METHODS) <= set(report.runs["method"]) <= set(EVERYTHING)
    assert "| posterior | all |" in gallery.tables(report)
    # The control: the oracle knows the true profiles, and its intervals have to be right.
    rows = report.intervals[(report.intervals["estimate"] == "oracle") & (report.intervals["bands"] == "all")]
    whole = rows[rows["group"] == "all"].iloc[0]
    assert abs(whole["pull_width"] - 1) < 4 * whole["pull_width_error"]

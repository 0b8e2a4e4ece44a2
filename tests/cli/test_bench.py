"""The command bench blends: files, exit status, going on, and bad input."""

SMALL = ("--bands", "i", "--side", "30", "--most", "2", "--method", "oracle", "--jobs", "1", "--quiet")


def test_blends_writes_a_report_and_goes_on(scoresample, tmp_path, one_line_error):
    first = scoresample("bench", "blends", "-o", tmp_path, "--scenes", "2", *SMALL)
    assert first.exit_code == 1 and "oracle" in first.stdout and "0 of 2 runs failed" in first.stdout
    names = {"scenes", "results", "settings.json", "blends.json", "blends.csv", "blends.png", "intervals.png"}
    assert {path.name for path in tmp_path.iterdir()} == names
    again = scoresample("bench", "blends", "-o", tmp_path, "--scenes", "3", *SMALL)
    assert "0 of 3 runs failed" in again.stdout and len(list((tmp_path / "scenes").iterdir())) == 3
    other = scoresample("bench", "blends", "-o", tmp_path, "--scenes", "2", "--gallery-seed", "5", *SMALL)
    one_line_error(other, "another gallery", "another folder")


def test_bad_input_is_one_line(scoresample, tmp_path, one_line_error):
    def call(*more):
        return scoresample("bench", "blends", "-o", tmp_path, *more)

    one_line_error(call("--method", "magic"), "there is no method 'magic'")
    one_line_error(call("--bands", "x"), "ugrizy")
    one_line_error(call("--scenes", "0", "--method", "oracle"), "num_scenes is 0")
    assert not list(tmp_path.iterdir())

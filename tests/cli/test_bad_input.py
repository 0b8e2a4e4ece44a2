"""Every kind of bad input: status 2, one line on stderr, and earlier outputs as they were."""

import numpy as np
import pytest

from scoresample.products.tables import read_flux_catalog

BAD = {
    "shapes": ({"weights": lambda w: w[:, :-1]}, ["weights has shape (2, 23, 24)"]),
    "nan": ({"images": lambda i: put(i, np.nan)}, ["not finite", "(y, x) = (3, 4)"]),
    "infinite": ({"images": lambda i: put(i, np.inf)}, ["not finite", "(y, x) = (3, 4)"]),
    "negative weights": ({"weights": lambda w: put(w, -1.0)}, ["negative", "(3, 4)"]),
    "no weight": ({"weights": lambda w: 0 * w}, ["zero on all pixels"]),
    "empty psf": ({"psfs": lambda p: p[:, :0]}, ["PSF is empty"]),
    "nan in psf": ({"psfs": lambda p: put(p, np.nan)}, ["PSF of band 'g'", "not finite"]),
    "negative psf": ({"psfs": lambda p: -p}, ["PSF of band 'g'", "positive sum"]),
    "band twice": ({"bands": lambda b: np.array(["g", "g"])}, ["band 'g' comes 2 times"]),
    "outside": ({"centers": lambda c: c + np.array([100.0, 0.0])}, ["outside the image of 24 x 24"]),
    "no sources": (
        {"centers": lambda c: c[:0], "object_id": None, "is_star": None, "true_flux": None},
        ["no sources"],
    ),
    "masked center": ({"mask": lambda w: mask_at(w, 9, 8)}, ["masked"]),
    "all masked": ({"mask": lambda w: np.full(w.shape, 1)}, ["mask"]),
    "text not UTF-8": ({"bands": lambda b: np.array([b"g", b"\xff"])}, ["not UTF-8"]),
    "zeropoint beyond reason": ({"zeropoint": lambda w: np.array(1e9)}, ["zeropoint", "AB magnitudes"]),
    "missing key": ({"psfs": None}, ["no key 'psfs'"]),
}


def put(array, value):
    array = array.copy()
    array[0, 3, 4] = value
    return array


def mask_at(weights, y, x):
    mask = np.zeros(weights.shape, bool)
    mask[:, y, x] = True
    return mask


@pytest.fixture
def earlier(tmp_path):
    """A folder with results of an earlier run, and a check that they are still all there is."""
    out = tmp_path / "out"
    out.mkdir()
    names = ("map.npz", "draws.nc", "fluxes.fits", "report.json", "checkpoint.npz")
    for name in names:
        (out / name).write_text(f"earlier {name}")
    yield out
    assert {path.name: path.read_text() for path in out.iterdir()} == {
        name: f"earlier {name}" for name in names
    }


@pytest.mark.parametrize("kind", BAD)
def test_content_that_cannot_be_used(scoresample, tiny, tmp_path, earlier, one_line_error, kind):
    changes, words = BAD[kind]
    with np.load(tiny) as archive:
        arrays = dict(archive)
    for key, change in changes.items():
        if change is None:
            del arrays[key]
        else:
            arrays[key] = change(arrays.get(key, arrays["weights"]))
    path = tmp_path / "bad.npz"
    np.savez(path, **arrays)
    one_line_error(scoresample("run", path, "-o", earlier), "bad.npz", *words)


def test_files_that_cannot_be_read(scoresample, tiny, tmp_path, earlier, one_line_error):
    truncated = tmp_path / "half.npz"
    truncated.write_bytes(tiny.read_bytes()[: tiny.stat().st_size // 2])
    one_line_error(scoresample("run", truncated, "-o", earlier), "half.npz", "truncated")
    other = tmp_path / "scene.txt"
    other.write_text("no scene")
    one_line_error(scoresample("run", other, "-o", earlier), "scene.txt", "unknown file type", ".npz")
    one_line_error(scoresample("run", tmp_path / "absent.npz", "-o", earlier), "absent.npz", "does not exist")


def test_a_run_that_never_began_makes_no_folder(scoresample, tmp_path, one_line_error):
    one_line_error(scoresample("run", tmp_path / "absent.npz", "-o", tmp_path / "new"))
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--chains", 0), ["chains is 0", "at least 1"]),
        (("--max-seconds", 0), ["max_seconds is 0", "above 0"]),
        (("--seed", 2**32), ["seed is 4294967296", "below 2**32"]),
        (("--sampler", "gibbs"), ["gibbs", "nuts", "laplace"]),
        (
            ("--sampler", "annealed", "--prior", "gaussian"),
            ["AnnealedLangevin", "this density knows one only"],
        ),
        (("--prior", "dark"), ["no prior 'dark'", "galaxies"]),
        (("--prior", "galaxies", "--noise-level", "0.001"), ["noise_level is 0.001", "0.05 to 10"]),
        (("--least-flux", "3"), ["least_flux is 3", "0 or below"]),
        (("--draws", "many"), ["many", "integer"]),
        (("--bad-plane", "NOSUCH"), []),
        (("--nonsense",), ["--nonsense", "--help"]),
    ],
)
def test_options_that_make_no_sense(scoresample, tiny, tmp_path, earlier, one_line_error, options, words):
    with np.load(tiny) as archive:
        arrays = dict(archive)
    arrays["mask"] = np.zeros(arrays["images"].shape, np.int32)
    path = tmp_path / "masked.npz"
    np.savez(path, **arrays)
    one_line_error(scoresample("run", path, "-o", earlier, *options), *words)


def test_usage_without_a_scene_a_folder_or_a_command(scoresample, tiny, one_line_error):
    one_line_error(scoresample("run", "-o", "out"), "SCENE")
    one_line_error(scoresample("run", tiny), "--out")
    one_line_error(scoresample("fly"), "fly", "--help")
    one_line_error(scoresample(), "command", "--help")


def test_an_output_that_is_a_file_or_in_one(scoresample, tiny, tmp_path, one_line_error):
    file = tmp_path / "file"
    file.write_text("mine")
    one_line_error(scoresample("run", tiny, "-o", file), "file")
    one_line_error(scoresample("run", tiny, "-o", file / "out"), "file")
    assert file.read_text() == "mine"


def test_what_can_be_mended_is_a_warning_of_one_line_and_stays_in_the_report(
    scoresample, tiny, tmp_path, fast
):
    with np.load(tiny) as archive:
        arrays = dict(archive)
    path = tmp_path / "psf.npz"
    np.savez(path, **(arrays | {"psfs": 2 * arrays["psfs"]}))
    result = scoresample("run", path, "-o", tmp_path / "out", *fast)
    assert result.exit_code == 1
    assert result.stderr.startswith("warning: PSFs are not normalized")
    assert result.stderr.count("\n") == 1
    assert "PSFs are not normalized" in (tmp_path / "out" / "report.json").read_text()


@pytest.mark.filterwarnings("ignore:.*most of its light in one pixel")
def test_a_psf_of_one_pixel_and_one_without_light_in_its_middle_run(scoresample, tiny, tmp_path):
    with np.load(tiny) as archive:
        arrays = dict(archive)
    ring = np.ones((2, 5, 5))
    ring[:, 1:4, 1:4] = 0
    for name, psfs in {
        "pixel": np.ones((2, 1, 1)),
        "ring": ring / ring.sum(axis=(1, 2), keepdims=True),
    }.items():
        path = tmp_path / f"{name}.npz"
        np.savez(path, **(arrays | {"psfs": psfs}))
        result = scoresample(
            "map", path, "-o", tmp_path / name, "--no-stars", "--prior", "gaussian", "--quiet"
        )
        assert result.exit_code in (0, 1), result.output
        assert "divide" not in result.stderr


def test_numbers_that_fail_are_one_line_too(scoresample, tiny, tmp_path, one_line_error, monkeypatch):
    def out_of_memory(*_, **__):
        raise RuntimeError("RESOURCE_EXHAUSTED: out of memory\nallocating 1 TiB")

    monkeypatch.setattr("scoresample.products.pipeline_draws.find_map", out_of_memory)
    one_line_error(scoresample("run", tiny, "-o", tmp_path / "out"), "RESOURCE_EXHAUSTED", "too large")


def test_a_source_without_data_has_a_row_that_says_prior_only(scoresample, tiny, fast, tmp_path):
    """Only a far wing of the star is seen, a hundred-millionth of its squared image."""
    arrays = dict(np.load(tiny))
    arrays["weights"] = arrays["weights"].copy()
    arrays["weights"][:, 8:, 9:] = 0
    np.savez(tmp_path / "masked.npz", **arrays)
    result = scoresample("run", tmp_path / "masked.npz", "-o", tmp_path / "out", *fast)
    assert result.exit_code in (0, 1)
    assert "warning: 1 source(s) are left without data by masks ('1')" in result.stderr
    table = read_flux_catalog(tmp_path / "out" / "fluxes.fits")
    assert list(table["status"]) == ["done", "prior only"] and list(table["flag_noData"]) == [False, True]
    assert np.isnan(table["g_flux"][1]) and np.isfinite(table["g_flux"][0])
    assert np.abs(table["g_flux"][0].value) < 1000  # and does not trade light with what nobody sees
    page = (tmp_path / "out" / "report.html").read_text()
    assert "Prior only: no pixel with data knows of these fluxes" in page and "star_1 in g, r" in page

"""Tiny scenes, and the command run on them in this process."""

import numpy as np
import pytest
from click.testing import CliRunner

from scoresample.cli import main
from scoresample.data.catalog import make_catalog
from scoresample.data.observation import make_observation
from scoresample.data.writers import write_scene

SHAPE, BANDS = (24, 24), ("g", "r")
CENTERS = np.array([[9.0, 8.0], [14.0, 15.0]])
FLUX = np.array([[60.0, 90.0], [40.0, 30.0]])
FAST = (
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


def gaussian(shape, center, sigma):
    """Return a round Gaussian of sum about 1."""
    y, x = np.indices(shape)
    return np.exp(-0.5 * ((y - center[0]) ** 2 + (x - center[1]) ** 2) / sigma**2) / (2 * np.pi * sigma**2)


@pytest.fixture(scope="session")
def write_tiny(seed_shift):
    """Write a galaxy and a star in two bands, 24 x 24 pixels, in nJy, and return the path."""

    def write(path, seed=0):
        rng = np.random.default_rng(seed + seed_shift)
        shapes = np.stack(
            [gaussian(SHAPE, center, sigma) for center, sigma in zip(CENTERS, (2.4, 1.4), strict=True)]
        )
        images = np.einsum("kb,kyx->byx", FLUX, shapes) + 0.1 * rng.normal(size=(2, *SHAPE)) + 0.02
        psf = gaussian((13, 13), (6, 6), 1.4)
        observation = make_observation(
            images, np.full(images.shape, 100.0), np.stack([psf / psf.sum()] * 2), BANDS, flux_unit="nJy"
        )
        write_scene(
            path, observation, make_catalog(CENTERS, is_star=[False, True], true_flux=FLUX, bands=BANDS)
        )
        return path

    return write


@pytest.fixture(scope="session")
def tiny(write_tiny, tmp_path_factory):
    """One such scene."""
    return write_tiny(tmp_path_factory.mktemp("scene") / "tiny.npz")


@pytest.fixture(scope="session")
def scoresample():
    """Run the command with arguments; the result has exit_code, stdout and stderr."""

    def call(*arguments):
        result = CliRunner().invoke(main, [str(argument) for argument in arguments])
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        assert "Traceback" not in result.output
        return result

    return call


@pytest.fixture(scope="session")
def fast():
    """Options of a run of a second, besides compiling."""
    return FAST


@pytest.fixture(scope="session")
def finished(scoresample, tiny, tmp_path_factory):
    """A whole run of the tiny scene: its folder and what the command said."""
    out = tmp_path_factory.mktemp("finished") / "out"
    return out, scoresample("run", tiny, "-o", out, *FAST)


@pytest.fixture
def one_line_error():
    """Check that a result is that of bad input: status 2 and one line on stderr that holds all given words."""

    def check(result, *words):
        assert result.exit_code == 2, result.output
        assert result.stderr.startswith("error: ")
        assert result.stderr.count("\n") == 1
        assert result.stderr.endswith("\n")
        assert [word for word in words if word not in result.stderr] == [], result.stderr

    return check

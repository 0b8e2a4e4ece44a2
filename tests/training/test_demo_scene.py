"""The shipped scene: its truth explains it, and the command makes it again."""

import importlib.resources

import numpy as np
import pytest


@pytest.fixture(scope="module")
def scene():
    with importlib.resources.files("scoresample.resources").joinpath("demo_scene.npz").open("rb") as file:
        return dict(np.load(file))


def test_shapes_and_units(scene):
    assert scene["images"].shape == scene["weights"].shape == (6, 40, 40)
    assert "".join(scene["bands"]) == "ugrizy" and str(scene["flux_unit"]) == "nJy"
    assert scene["true_flux"].shape == (5, 6) and scene["centers"].shape == (5, 2)
    assert scene["is_star"].sum() == 1
    np.testing.assert_allclose(scene["psfs"].sum((1, 2)), 1, rtol=1e-5)
    assert np.hypot(*(scene["centers"] - scene["true_centers"]).T).max() < 0.5


def test_the_header_puts_the_middle_of_the_image_on_the_sky(scene):
    fits, wcs = pytest.importorskip("astropy.io.fits"), pytest.importorskip("astropy.wcs")
    sky = wcs.WCS(fits.Header.fromstring(str(scene["wcs"]))).pixel_to_world(19.5, 19.5)
    np.testing.assert_allclose([sky.ra.deg, sky.dec.deg], [53.125, -27.806])


def test_truth_explains_the_images(scene):
    pytest.importorskip("galsim", reason="galaxy simulation needs the extra 'sim' (galsim)")
    from scoresample.training import demo_scene

    sources = demo_scene.make_sources()
    for band in range(6):
        psf = demo_scene.make_psf(band)
        model = np.stack([demo_scene.draw_source(source, band, psf) for source in sources])
        np.testing.assert_allclose(model.sum((1, 2)), scene["true_flux"][:, band], rtol=1e-4)
        total = model.sum(0) + scene["true_background"][band]
        chi2 = np.mean((scene["images"][band] - total) ** 2 * scene["weights"][band])
        assert abs(chi2 - 1) < 5 * np.sqrt(2 / 40**2)


def test_the_command_makes_the_shipped_scene(scene, tmp_path):
    pytest.importorskip("galsim", reason="galaxy simulation needs the extra 'sim' (galsim)")
    from scoresample.training import demo_scene

    demo_scene.main(["--output", str(tmp_path / "again.npz")])
    again = np.load(tmp_path / "again.npz")
    assert sorted(again.files) == sorted(scene)
    np.testing.assert_allclose(again["images"], scene["images"], rtol=1e-3, atol=1e-2)

"""Rendered sources against drawings of GalSim: below 1e-3 of the peak, and the limits that the docs state."""

import equinox as eqx
import jax.numpy as jnp
import numpy as np
import pytest

from scoresample.data.frame import Frame
from scoresample.models.morphology import (
    GaussianProfile,
    PixelMorphology,
    PointSource,
    SersicProfile,
    to_coordinate,
)
from scoresample.models.psf import GaussianPSF
from scoresample.models.rendering import make_renderer
from scoresample.models.scene import Scene
from scoresample.models.source import make_source

galsim = pytest.importorskip("galsim", reason="galaxies are drawn with the extra 'sim' (galsim)")

# GalSim's own defaults are good to some 1e-3 of the peak only.
FINE = galsim.GSParams(
    folding_threshold=1e-4, maxk_threshold=1e-4, kvalue_accuracy=1e-7, maximum_fft_size=16384
)
SHAPE = (61, 57)
CENTERS = [(30.0, 28.0), (30.3, 27.6), (29.5, 28.25), (29.5, 28.5)]
TOLERANCE = 1e-3  # of the peak
COLUMNS = eqx.filter_jit(lambda renderer, values: renderer.columns(values))  # faster to compile than op by op


def kolmogorov(fwhm=3.6):
    return galsim.Kolmogorov(fwhm=fwhm, gsparams=FINE)


def moffat(fwhm=3.5):
    return galsim.Moffat(beta=3.5, fwhm=fwhm, gsparams=FINE).shear(g1=0.02, g2=-0.01)


def draw(profile, shape, center, method="auto"):
    """Draw with the pixel, or at the middles of pixels with method='no_pixel'."""
    offset = [c - (n - 1) / 2 for c, n in zip(center, shape, strict=True)][::-1]
    return profile.drawImage(
        nx=shape[1], ny=shape[0], scale=1.0, offset=offset, dtype=float, method=method
    ).array


def stamp(psf, size=41, shift=0.0):
    """Draw a PSF on a square stamp. Its sum is what falls on it: the wings beyond are in no comparison."""
    middle = (size - 1) / 2
    return draw(psf, (size, size), (middle, middle + shift))


def render(morphologies, centers, psfs, *, box=35, shape=SHAPE):
    """Render morphologies of one kind, (source, band, y, x)."""
    bands = tuple("ugrizy"[: len(psfs)])
    sources = []
    for index, (morphology, center) in enumerate(zip(morphologies, centers, strict=True)):
        own_box = None if isinstance(morphology, PixelMorphology) else box
        flux = jnp.ones(len(psfs))
        sources.append(make_source(f"s{index}", morphology, center, flux, box=own_box))
    scene = Scene(Frame(shape, bands), tuple(sources), None, GaussianPSF(0.7))
    renderer = make_renderer(scene, np.asarray(psfs))
    return np.asarray(COLUMNS(renderer, scene.parameters), float)


def worst(images, references):
    """Return the largest error of any image in units of its peak."""
    return max(
        np.abs(image - reference).max() / reference.max()
        for image, reference in zip(images, references, strict=True)
    )


def sersic_pairs(cases):
    """Return our profiles, and GalSim's, for cases of (index, radius, g1, g2)."""
    ours = [
        SersicProfile(jnp.asarray(float(r)), jnp.asarray(float(n)), jnp.array([g1, g2]))
        for n, r, g1, g2 in cases
    ]
    theirs = [
        galsim.Sersic(n=n, half_light_radius=r, gsparams=FINE).shear(g1=g1, g2=g2) for n, r, g1, g2 in cases
    ]
    return ours, theirs


def point_error(psf, image):
    points = [PointSource() for _ in CENTERS]
    return worst(render(points, CENTERS, [image])[:, 0], [draw(psf, SHAPE, c) for c in CENTERS])


@pytest.mark.parametrize("size", [41, 42])
@pytest.mark.parametrize("psf", [kolmogorov(), moffat()], ids=["kolmogorov", "moffat"])
def test_point_sources_at_sub_pixel_offsets(psf, size):
    assert point_error(psf, stamp(psf, size)) < TOLERANCE


def test_even_stamps_with_their_peak_on_a_pixel():
    psf = kolmogorov()
    assert point_error(psf, draw(psf, (42, 44), (21.0, 22.0))) < TOLERANCE


def test_that_these_tests_see_a_psf_shifted_by_a_tenth_of_a_pixel():
    psf = kolmogorov()
    assert point_error(psf, stamp(psf, shift=0.1)) > 10 * TOLERANCE


@pytest.mark.parametrize(("fwhm", "least", "most"), [(3.0, 0.0, 1e-3), (2.0, 3e-3, 1.5e-2)])
def test_the_limit_for_undersampled_psfs(fwhm, least, most):
    psf = moffat(fwhm)
    assert least < point_error(psf, stamp(psf)) < most


SERSIC_CASES = [
    (n, r, *shear)
    for n, shear in [(0.5, (0.3, -0.2)), (1.0, (-0.1, 0.45)), (2.5, (0.0, 0.0)), (4.0, (0.4, 0.0))]
    for r in (0.5, 1.2, 2.5)
] + [(1.3, 3.0, 0.2, 0.3), (6.0, 1.2, 0.1, -0.2)]


@pytest.mark.parametrize("size", [41, 42])
def test_convolved_sersic_profiles(size):
    psf = moffat()
    ours, theirs = sersic_pairs(SERSIC_CASES)
    centers = [CENTERS[i % 4] for i in range(len(ours))]
    references = [
        draw(galsim.Convolve(g, psf, gsparams=FINE), SHAPE, c) for g, c in zip(theirs, centers, strict=True)
    ]
    images = render(ours, centers, [stamp(psf, size), stamp(psf, size, shift=0.1)], box=49)
    assert worst(images[:, 0], references) < TOLERANCE
    errors = [worst([a], [b]) for a, b in zip(images[:, 1], references, strict=True)]
    assert min(errors) > 2 * TOLERANCE  # negative control, for every profile


def test_convolved_gaussian_profiles():
    psf, cases = kolmogorov(), [(0.6, 0.2, 0.1), (1.5, -0.4, 0.3), (3.5, 0.0, -0.5)]
    ours = [GaussianProfile(jnp.asarray(s), jnp.array([g1, g2])) for s, g1, g2 in cases]
    theirs = [galsim.Gaussian(sigma=s, gsparams=FINE).shear(g1=g1, g2=g2) for s, g1, g2 in cases]
    references = [
        draw(galsim.Convolve(g, psf, gsparams=FINE), SHAPE, c)
        for g, c in zip(theirs, CENTERS[1:], strict=True)
    ]
    images = render(ours, CENTERS[1:], [stamp(psf), stamp(psf, shift=0.1)])
    assert worst(images[:, 0], references) < TOLERANCE
    assert worst(images[:, 1], references) > 5 * TOLERANCE


def test_a_psf_larger_than_the_image_and_one_for_each_band():
    psfs, shape = [kolmogorov(3.4), moffat(4.2), kolmogorov(4.8)], (21, 25)
    ours, theirs = sersic_pairs([(1.0, 1.5, 0.2, 0.0), (2.5, 1.0, 0.0, -0.3)])
    centers = [(9.7, 12.2), (0.4, 23.6)]
    images = render(ours, centers, [stamp(psf) for psf in psfs], shape=shape)
    for band, psf in enumerate(psfs):
        references = [
            draw(galsim.Convolve(g, psf, gsparams=FINE), shape, c)
            for g, c in zip(theirs, centers, strict=True)
        ]
        assert worst(images[:, band], references) < TOLERANCE
        assert worst(images[:, band - 1], references) > 0.1  # negative control: the PSF of another band


def pixel_error(case, psf, psf_image, *, box, center):
    """Return the error of a galaxy given at the resolution of the model PSF, on the pixels of its box."""
    _, (galaxy,) = sersic_pairs([case])
    narrow = galsim.Convolve(galaxy, galsim.Gaussian(sigma=0.7), gsparams=FINE)
    shape = draw(narrow, (box, box), ((box - 1) / 2,) * 2, "no_pixel")
    morphology = PixelMorphology(to_coordinate(jnp.asarray(shape / shape.max())))
    image = render([morphology], [center], [psf_image])[0, 0] * shape.sum()
    return worst([image], [draw(galsim.Convolve(galaxy, psf, gsparams=FINE), SHAPE, center)])


@pytest.mark.parametrize("case", [(1.0, 1.5, 0.3, -0.1), (1.0, 3.0, 0.2, 0.1), (2.5, 1.5, 0.2, 0.0)])
@pytest.mark.parametrize(("box", "center"), [(49, (30.3, 27.6)), (50, (30.0, 28.0))])
def test_pixel_morphologies_through_the_difference_kernel(case, box, center):
    psf = kolmogorov()
    assert pixel_error(case, psf, stamp(psf), box=box, center=center) < TOLERANCE
    assert pixel_error(case, psf, stamp(psf, shift=0.1), box=box, center=center) > 5 * TOLERANCE


def test_light_beyond_the_box_is_missed():
    psf, case = kolmogorov(), (1.0, 3.0, 0.2, 0.1)
    errors = [pixel_error(case, psf, stamp(psf), box=box, center=CENTERS[1]) for box in (17, 25, 35)]
    assert 1e-2 < errors[0] < 4e-2 and 2e-3 < errors[1] < 6e-3 and errors[2] < TOLERANCE
    assert sorted(errors, reverse=True) == errors

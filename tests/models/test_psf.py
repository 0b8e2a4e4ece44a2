"""PSFs: their centers, widths and transforms."""

import numpy as np
import pytest

from scoresample.models.psf import GaussianPSF, choose_model_psf, psf_center, psf_transforms, psf_width


def gaussian(shape, center, sigma=1.6):
    y, x = np.indices(shape)
    psf = np.exp(-0.5 * ((y - center[0]) ** 2 + (x - center[1]) ** 2) / sigma**2)
    return psf / psf.sum()


@pytest.mark.parametrize(
    ("shape", "drawn", "expected"),
    [
        ((15, 21), (7, 10), (7, 10)),
        ((15, 15), (7.3, 6.8), (7, 7)),  # odd sizes: the central pixel, whatever the centroid
        ((16, 16), (8, 8), (8, 8)),  # even sizes: pixel n / 2 or the corner before it
        ((16, 16), (7.5, 7.5), (7.5, 7.5)),
        ((16, 15), (7.6, 7), (7.5, 7)),
    ],
)
def test_the_center_is_the_pixel_or_corner_that_was_meant(shape, drawn, expected):
    assert psf_center(gaussian(shape, drawn)) == expected


def test_the_center_ignores_faint_wings():
    psf = gaussian((16, 16), (7.5, 7.5))
    psf[:, 12:] += 0.05 * psf.max()
    assert psf_center(psf) == (7.5, 7.5)


@pytest.mark.parametrize("sigma", [1.0, 2.3])
def test_the_width_of_a_gaussian_is_its_sigma(sigma):
    assert abs(psf_width(3 * gaussian((31, 31), (15, 15), sigma)) - sigma) < 1e-3 * sigma


def test_the_model_is_never_wider_than_the_sharpest_observed():
    wide, narrow = gaussian((15, 15), (7, 7), 1.6), gaussian((15, 15), (7, 7), 0.6)
    assert choose_model_psf(wide[None]).sigma == 0.7
    assert choose_model_psf(np.stack([wide, narrow])).sigma == psf_width(narrow) < 0.7


def test_the_model_image_has_the_model_transform():
    model = GaussianPSF(1.1)
    image = np.asarray(model.image((25, 27)), float)
    assert image.max() == 1
    transform = psf_transforms((image / image.sum())[None], (32, 30))[0]
    np.testing.assert_allclose(transform, model.transform((32, 30)), atol=3e-3)


def test_transforms_are_real_for_symmetric_psfs_and_keep_the_flux():
    psfs = np.stack([gaussian((15, 15), (7, 7), s) for s in (1.2, 2.0)]) * [[[1.0]], [[0.5]]]
    transforms = psf_transforms(psfs, (20, 25))
    np.testing.assert_allclose(transforms[:, 0, 0], [1, 0.5])
    assert np.abs(transforms.imag).max() < 1e-12

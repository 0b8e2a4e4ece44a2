"""Scenes of the gallery: the same again, within limits, with noise as the weights say and a truth that adds up."""

import dataclasses

import numpy as np
import pytest
import scipy.stats

import scoresample as ss
from scoresample.training import population
from scoresample.training.gallery import (
    EDGE,
    FARTHEST,
    NEAREST,
    Gallery,
    draw_centers,
    simulate_blend,
    write_gallery_scene,
)

SMALL = Gallery(seed=3, bands="gi", side=36, most=5)


@pytest.fixture(scope="module")
def scenes():
    return [simulate_blend(SMALL, number) for number in range(6)]


def noise(scene, factor=1.0):
    """What is left of the images without truth and background, in standard deviations."""
    clean = factor * scene["true_images"].sum(axis=0) + scene["true_background"][:, None, None]
    return (scene["images"] - clean) * np.sqrt(scene["weights"])


def chi2_z(scenes, factor=1.0):
    values = np.concatenate([noise(scene, factor).ravel() for scene in scenes])
    return (np.sum(values**2) - values.size) / np.sqrt(2 * values.size)


def test_a_scene_is_the_same_again_and_differs_from_others(scenes):
    again = simulate_blend(SMALL, 2)
    assert all(np.array_equal(again[name], scenes[2][name]) for name in again)
    other = simulate_blend(dataclasses.replace(SMALL, seed=4), 2)
    assert not np.array_equal(other["images"], scenes[2]["images"])


def test_noise_is_what_the_weights_say_and_a_truth_off_by_a_third_is_seen(scenes):
    assert abs(chi2_z(scenes)) < 5
    assert chi2_z(scenes, 1.3) > 10


def test_true_fluxes_are_those_of_the_true_images_and_of_the_magnitudes(scenes):
    for scene in scenes:
        np.testing.assert_allclose(scene["true_images"].sum(axis=(2, 3)), scene["true_flux"], rtol=2e-4)
        from_magnitude = 10 ** (0.4 * (31.4 - scene["magnitude_i"]))
        share = scene["true_flux"][:, SMALL.bands.index("i")] / from_magnitude
        assert np.all((share > 0.9) & (share < 1.001))  # some light falls outside the image


def test_a_scene_file_is_read_with_its_truth(tmp_path, scenes):
    path = tmp_path / "scene.npz"
    write_gallery_scene(path, SMALL, 1)
    observation = ss.read_observation(path)
    catalog = ss.read_catalog(path, frame=observation.frame)
    assert observation.frame.flux_unit == "nJy" and observation.frame.bands == ("g", "i")
    np.testing.assert_allclose(catalog.true_flux, scenes[1]["true_flux"])
    off = catalog.centers - scenes[1]["true_centers"]
    assert 0 < np.abs(off).max() < 0.6


def test_sources_are_within_their_limits(scenes):
    for scene in scenes:
        magnitudes, centers = scene["magnitude_i"], scene["true_centers"]
        assert 2 <= len(centers) <= SMALL.most
        assert magnitudes[0] < 25.3 and magnitudes.max() <= 27 and magnitudes.min() >= 20
        assert centers.min() >= EDGE and centers.max() <= SMALL.side - 1 - EDGE
        assert not np.any(scene["is_star"] & (scene["kind"] != "star"))
        assert not np.any(scene["is_star"] & (magnitudes >= 24))


def test_every_source_is_near_another_and_none_too_near():
    rng = np.random.default_rng(0)
    for _ in range(30):
        centers = np.array(draw_centers(rng, 6, 48))
        apart = np.hypot(*(centers[:, None] - centers[None]).T) + 1e9 * np.eye(6)
        assert apart.min() >= NEAREST and apart.min(axis=0).max() <= FARTHEST


def test_magnitudes_follow_the_counts(seed_shift):
    rng = np.random.default_rng(1 + seed_shift)
    drawn = [population.draw_magnitude(rng) for _ in range(2000)]
    share = lambda slope: (
        lambda m: (10 ** (slope * (np.array(m) - 27)) - 10 ** (-7 * slope)) / (1 - 10 ** (-7 * slope))
    )
    assert scipy.stats.kstest(drawn, share(0.31)).pvalue > 1e-4
    assert scipy.stats.kstest(drawn, share(0.40)).pvalue < 1e-6


def test_sizes_and_types_are_those_of_the_papers(seed_shift):
    rng = np.random.default_rng(2 + seed_shift)
    radii = np.array([population.draw_radius(rng, 24.0, False) for _ in range(4000)])
    median = np.exp(-1.145 - 0.269) * 1.6783 / 0.2
    assert abs(np.mean(radii < median) - 0.5) < 5 * 0.5 / np.sqrt(4000)
    types = [population.draw_type(rng, 22.0) for _ in range(4000)]
    early = np.mean([kind is population.EARLY for kind, _ in types])
    expected = 0.35 * np.exp(-0.9)
    assert abs(early - expected) < 5 * np.sqrt(expected / 4000)
    assert max(redshift for _, redshift in types) <= population.MAX_REDSHIFT


def test_colours_are_those_of_the_types():
    red, blue = (population.galaxy_colours(name, 0.7, "gy") for name in ("E", "Im"))
    assert red[0] < 0.2 * blue[0] and red[1] > blue[1]
    cool, hot = (population.star_colours(kelvin, "gy") for kelvin in (3500.0, 6500.0))
    assert cool[0] < hot[0] and cool[1] > hot[1]


def test_bulges_are_redder_where_that_is_asked_for():
    def spiral(gradients):
        rng = np.random.default_rng(0)
        while True:
            galaxy = population.draw_galaxy(rng, (0.0, 0.0), 22.0, "gi", gradients)
            if galaxy.kind == "spiral":
                return [colours for _, colours, _ in galaxy.parts]

    plain, red = spiral(False), spiral(True)
    assert plain[0] == plain[1] == red[0] and red[1][0] < red[0][0]


@pytest.mark.parametrize(
    ("wrong", "words"),
    [({"bands": "gx"}, "ugrizy"), ({"least": 5, "most": 3}, "least is 5"), ({"side": 20}, "side is 20")],
)
def test_settings_out_of_range_are_refused(wrong, words):
    with pytest.raises(ss.ConfigError, match=words):
        Gallery(**wrong)

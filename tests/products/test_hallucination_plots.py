"""The picture of a hallucination score."""

import jax
import matplotlib.pyplot as plt
import numpy as np
import pytest

import scoresample as ss
from scoresample.diagnostics.hallucination import Hallucination
from scoresample.products.pipeline_outputs import picture_hallucination
from scoresample.products.pipeline_problem import Problem


@pytest.fixture
def hall(draws, seed_shift):
    """A made-up score, data better than the prior in the upper half."""
    shapes = {
        n.removesuffix(".image"): v.shape[2:] for n, v in draws.position.items() if n.endswith(".image")
    }
    prior = {name: np.full(shape, 20.0) for name, shape in shapes.items()}
    likelihood = {name: np.linspace(1, 100, np.prod(shape)).reshape(shape) for name, shape in shapes.items()}
    difference = {name: prior[name] - likelihood[name] for name in shapes}
    confidence = {name: 12.5 for name in draws.density.scene.objects}
    return Hallucination(difference, prior, likelihood, difference, confidence, confidence, {}, {})


def test_a_row_for_each_source_with_six_panels(draws, hall, tmp_path):
    figure = ss.plot_hallucination(draws.density, draws, hall, tmp_path / "hallucination.png")
    assert (tmp_path / "hallucination.png").read_bytes()[:4] == b"\x89PNG"
    panels = [axes for axes in figure.axes if axes.images and not axes.get_label().startswith("<colorbar")]
    assert len(panels) == 6 * len(hall.difference)
    name, score = next(iter(hall.difference.items()))
    np.testing.assert_allclose(panels[4].images[0].get_array(), score)
    assert "confidence 12.5" in panels[0].get_ylabel() and name in panels[0].get_ylabel()
    red, _, blue, _ = panels[4].images[0].cmap(panels[4].images[0].norm(score.max()))
    assert red > blue  # where the prior decides


def test_one_position_will_do_and_pixels_without_data_are_hatched(draws, hall):
    position = jax.tree.map(lambda leaf: leaf[0, 0], draws.position)
    hatched = lambda figure: sum(bool(axes.collections) for axes in figure.axes[:6])
    assert hatched(ss.plot_hallucination(draws.density, position, hall)) == 0
    observation = draws.density.observation
    weights = np.array(observation.inverse_variance)
    weights[:, :, 8:] = 0
    dark = ss.make_observation(observation.images, weights, observation.psfs, observation.frame.bands)
    scene = draws.density.scene
    posterior = ss.Posterior(
        ss.Scene(dark.frame, scene.sources, scene.background, scene.model_psf), dark,
        priors={p.name: p.prior for p in draws.density.parameters},
    )  # fmt: skip
    assert hatched(ss.plot_hallucination(posterior, position, hall)) == 6


def test_chosen_sources_go_into_a_part_of_a_figure(draws, hall):
    name = list(hall.difference)[-1]
    whole = plt.figure()
    parts = whole.subfigures(2, 1)
    assert ss.plot_hallucination(draws.density, draws, hall, names=[name], figure=parts[1]) is parts[1]
    panels = [axes for axes in parts[1].axes if axes.images and not axes.get_label().startswith("<colorbar")]
    assert len(panels) == 6 and name in panels[0].get_ylabel() and not parts[0].axes
    plt.close(whole)
    for names, why in (([], "names has none"), (["other"], "'other' is not among them")):
        with pytest.raises(ss.ConfigError, match=why):
            ss.plot_hallucination(draws.density, draws, hall, names=names)


def test_a_run_writes_the_picture_and_takes_away_that_of_an_earlier_one(draws, hall, tmp_path):
    problem = Problem({}, None, draws.density)
    for without in (None, hall._replace(difference={})):
        picture_hallucination(problem, draws, hall, tmp_path)
        assert (tmp_path / "hallucination.png").exists()
        picture_hallucination(problem, draws, without, tmp_path)
        assert not (tmp_path / "hallucination.png").exists()


def test_bad_input(draws, hall):
    with pytest.raises(ss.ConfigError, match="has no free images"):
        ss.plot_hallucination(draws.density, draws, hall._replace(difference={}))
    with pytest.raises(ss.ConfigError, match="is of 'other', which the scene lacks"):
        ss.plot_hallucination(draws.density, draws, hall._replace(difference={"other": np.zeros((3, 3))}))

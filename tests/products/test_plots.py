"""The figure: it shows every object, band and truth, and can be saved."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.image import imread

from scoresample.errors import ConfigError, ShapeError
from scoresample.products.colour import ColourScale
from scoresample.products.photometry import ObjectImages
from scoresample.products.plots import _num_columns, plot_scene
from scoresample.samplers.optimize import MAPResult


def shown(figure):
    return [axes for axes in figure.findobj(Axes) if axes.get_visible()]


def residual_of(figure, band):
    axes = next(axes for axes in shown(figure) if axes.get_title().startswith(f"{band}: mean"))
    return axes.images[0].get_array()


def titles(figure):
    return [title for axes in shown(figure) if (title := axes.get_title())]


def test_draws_with_truth(draws, tmp_path):
    truth = np.arange(6.0).reshape(3, 2)
    figure = plot_scene(draws.density, draws, tmp_path / "scene.png", true_flux=truth)
    found = titles(figure)
    assert found[:3] == ["data: blend", "model", "residual, all bands"]
    assert found[3].startswith("g: mean square") and found[4].startswith("r: mean square")
    assert found[5:] == ["galaxy_0", "galaxy_1", "star_2"]
    with_bars = [axes for axes in shown(figure) if axes.containers]
    assert len(with_bars) == 3
    bars = with_bars[0].containers[0]
    flux = draws.derived["flux"][:, :, 0].reshape(-1, 2)
    np.testing.assert_allclose(bars.lines[0].get_ydata(), flux.mean(axis=0), rtol=1e-5)
    ends = bars.lines[2][0].get_segments()
    np.testing.assert_allclose(ends[1][:, 1], np.quantile(flux[:, 1].astype(float), [0.16, 0.84]), rtol=1e-5)
    marks = [line for line in with_bars[2].lines if line.get_label() == "truth"]
    np.testing.assert_array_equal(marks[0].get_ydata(), truth[2])
    picture = imread(tmp_path / "scene.png")
    assert picture.shape[1] > 1000 and np.ptp(picture[..., :3]) > 0.9


def test_residuals_are_in_units_of_the_noise(shared_draws):
    """Here the inverse variance is 1; with a quarter of it the same residual is half as many sigma."""
    posterior = shared_draws.density
    position = jax.tree.map(lambda leaf: jnp.asarray(leaf[0, 0]), shared_draws.position)
    wider = eqx.tree_at(lambda p: p.observation.inverse_variance, posterior, replace_fn=lambda w: w / 4)
    one, half = (residual_of(plot_scene(p, position), "g") for p in (posterior, wider))
    np.testing.assert_allclose(half, one / 2, rtol=1e-6)
    model = posterior.source_images(position).sum(axis=0)
    np.testing.assert_allclose(one, (posterior.observation.images - model)[0], atol=1e-3)


def test_pixels_without_data_are_not_drawn(dark_draws):
    figure = plot_scene(dark_draws.density, dark_draws)
    mask = np.ma.getmaskarray(np.ma.masked_invalid(residual_of(figure, "r")))
    np.testing.assert_array_equal(mask, np.asarray(dark_draws.density.observation.inverse_variance)[1] == 0)
    star = [axes for axes in shown(figure) if axes.containers][2]
    assert np.isnan(star.containers[0].lines[0].get_ydata()[1])


@pytest.mark.parametrize("kind", ["position", "map"])
def test_one_position_has_no_error_bars(shared_draws, kind):
    posterior = shared_draws.density
    position = jax.tree.map(lambda leaf: jnp.asarray(leaf[0, 0]), shared_draws.position)
    what = position if kind == "position" else MAPResult(position, "converged", None)
    figure = plot_scene(posterior, what)
    bars = next(axes for axes in shown(figure) if axes.containers).containers[0]
    assert np.ptp(np.array(bars.lines[2][0].get_segments())[:, :, 1], axis=1).max() == 0


def test_truth_of_another_shape(draws):
    with pytest.raises(ShapeError, match="true_flux has shape"):
        plot_scene(draws.density, draws, true_flux=np.ones((2, 3)))


def test_no_draws(draws, cut):
    with pytest.raises(ConfigError, match="no draws"):
        plot_scene(draws.density, cut(draws, 0))


@pytest.mark.parametrize("num_objects", [1, 4, 7, 8, 9, 12, 13, 24, 25, 80])
def test_rows_of_objects_are_filled(num_objects):
    columns = _num_columns(num_objects)
    rows = -(-num_objects // columns)
    assert 4 <= columns <= 12 and columns * rows < num_objects + max(columns, 4)


@pytest.mark.parametrize("num_bands", [1, 2, 3, 5, 6])
def test_colours_of_any_number_of_bands(num_bands):
    """A red object is red where there is more than one band; empty sky is the same with and without sky level."""
    light = np.zeros((1, num_bands, 3, 3))
    light[0, :, 1, 1] = 50.0
    images = ObjectImages(light, np.full(num_bands, 7.0))
    colour = ColourScale(np.ones((num_bands, 3, 3)), images)
    white = colour(light[0])
    assert white.shape == (3, 3, 3) and white.dtype == np.uint8
    assert np.ptp(white[1, 1].astype(int)) <= 1 and white[1, 1, 0] > 150
    np.testing.assert_array_equal(colour.with_sky(images.model), white)
    if num_bands > 1:
        red = light[0].copy()
        red[: num_bands // 2] = 0
        assert colour(red)[1, 1, 0] > colour(red)[1, 1, 2]


def test_masked_pixels_do_not_change_the_colours():
    weight = np.ones((3, 4, 4))
    images = ObjectImages(np.ones((1, 3, 4, 4)), np.zeros(3))
    before = ColourScale(weight, images)(images.model)
    weight[1, :2, :3] = 0
    np.testing.assert_array_equal(ColourScale(weight, images)(images.model), before)

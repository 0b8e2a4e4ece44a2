"""Training: batches of what was asked, the same for the same seed, and no step lost to an interruption."""

import dataclasses

import jax
import numpy as np
import pytest

from scoresample.errors import ConfigError, FileFormatError
from scoresample.models.energy_network import EnergyNetwork
from scoresample.models.galaxy_box import galaxy_box
from scoresample.models.gaussian_prior import load_gaussian_prior
from scoresample.training import trainer
from scoresample.training.batches import draw_batch, draw_noise_levels, held_out, num_training
from scoresample.training.dataset import TrainingSet, as_steps
from scoresample.training.denoising import relative_error
from scoresample.training.trainer import TrainSettings, refinement, train

SMALL = TrainSettings(
    widths=(4, 6, 8), num_steps=30, batch=2, learning_rate=5e-3, checkpoint_every=10, kind="score"
)


@pytest.fixture(scope="module")
def galaxies():
    """Smooth blobs, one at each of 200 brightnesses, 16 and 17 pixels a side."""
    images = {}
    for side in (16, 17):
        radius = np.hypot(*(np.indices((side, side)) - (side - 1) / 2))
        height = np.linspace(1, 6, 200)[:, None, None]
        images[side] = as_steps(height * np.exp(-((radius / 3) ** 2)))
    return TrainingSet(images, {"population": "blobs"})


@pytest.fixture(scope="module")
def tables():
    return load_gaussian_prior().tables


def side_of(batch):
    return int(np.sqrt(batch.box.mask.sum()))


def test_batches_are_boxes_with_their_center_in_the_middle(galaxies, tables):
    sides = set()
    for step in range(20):
        batch = draw_batch(galaxies, tables, 1, step, 2)
        side = side_of(batch)
        # In the first corner, where the prior puts boxes.
        assert batch.box.mask[:side, :side].all()
        for image in batch.images:
            assert (image * (1 - batch.box.mask) == 0).all()
            peak = np.argwhere(image == image.max()).mean(axis=0)
            np.testing.assert_allclose(peak, [(side - 1) / 2, (side - 1) / 2])
        sides.add(side)
    assert sides == {16, 17}  # smaller ones would be below what the prior serves


def test_boxes_are_cut(galaxies, tables):
    larger = TrainingSet(
        {25: np.repeat(np.repeat(galaxies.images[17], 2, 1), 2, 2)[:, :25, :25]}, galaxies.card
    )
    batches = [draw_batch(larger, tables, 1, step, 2) for step in range(40)]
    assert {side_of(batch) for batch in batches} == {19, 21, 23, 25}
    # Cut before the noise, and what galaxies look like is that of the smaller box.
    small = next(batch for batch in batches if side_of(batch) == 19)
    assert small.images.shape[1:] == batches[0].images.shape[1:]
    np.testing.assert_array_equal(small.box.mean, galaxy_box(tables, (19, 19), small.box.mask.shape).mean)


def test_noise_levels_reach_from_the_least_to_the_largest():
    levels = draw_noise_levels(np.random.default_rng(0), 20_000)
    assert levels.min() >= 0.0499
    assert levels.max() <= 80.1
    assert np.mean(levels > 10) == pytest.approx(0.9 * 0.026 + 0.1 * 0.282, abs=0.004)
    assert np.mean(levels < np.exp(-1)) == pytest.approx(0.9 * 0.5 + 0.1 * 0.271, abs=0.012)


def test_the_same_seed_and_step_give_the_same_batch(galaxies, tables):
    one, same, other = (draw_batch(galaxies, tables, *pair, 2) for pair in ((1, 3), (1, 3), (1, 4)))
    for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(same), strict=True):
        np.testing.assert_array_equal(a, b)
    assert one.images.shape != other.images.shape or (one.images != other.images).any()


def test_larger_batches_have_as_many_more_galaxies(galaxies, tables):
    for step in range(5):
        usual, large = (draw_batch(galaxies, tables, 1, step, batch) for batch in (2, 16))
        assert side_of(large) == side_of(usual)
        pixels = [batch.images[0].size * len(batch.images) for batch in (usual, large)]
        np.testing.assert_allclose(pixels, [2 * 32**2, 16 * 32**2], rtol=0.16)  # whole galaxies


def test_batches_that_are_drawn_ahead_come_in_the_order_of_steps(galaxies, tables):
    settings = dataclasses.replace(SMALL, num_steps=20)
    drawn = list(trainer._batches(galaxies, tables, settings, begun=3))
    assert [step for step, _ in drawn] == list(range(3, 20))
    for step, batch in drawn:
        np.testing.assert_array_equal(batch.noise, draw_batch(galaxies, tables, SMALL.seed, step, 2).noise)


def test_held_out_galaxies_are_never_trained_on(galaxies, tables):
    assert num_training(galaxies, 16) == 180
    assert held_out(galaxies, 16).shape == (20, 16, 16)
    brightest = max(draw_batch(galaxies, tables, 2, step, 2).images.max() for step in range(30))
    dimmest = held_out(galaxies, 17).max(axis=(1, 2)).min()
    assert 0.9 * dimmest < brightest < dimmest


def test_it_learns(galaxies, tmp_path):
    """To remove noise from blobs, far better than before; and nothing from labels of pure noise."""
    images, tables = galaxies.coordinates(16), load_gaussian_prior().tables
    before = relative_error(EnergyNetwork(jax.random.key(1), "score", SMALL.widths), tables, images, 0.5)
    trained = train(galaxies, dataclasses.replace(SMALL, num_steps=600), tmp_path / "a.npz", progress=False)
    assert relative_error(trained.network, tables, images, 0.5) < 0.5 * before
    rng = np.random.default_rng(3)
    noise = TrainingSet({16: as_steps(rng.normal(size=(200, 16, 16)))}, {"population": "noise"})
    useless = train(noise, dataclasses.replace(SMALL, num_steps=600), tmp_path / "b.npz", progress=False)
    assert relative_error(useless.network, tables, images, 0.5) > 0.9 * before


def test_an_interruption_costs_nothing(galaxies, tmp_path, monkeypatch):
    whole = train(galaxies, SMALL, tmp_path / "whole.npz", progress=False)

    def stops(training_set, tables, seed, step, batch):
        if step == 25:
            raise KeyboardInterrupt
        return draw_batch(training_set, tables, seed, step, batch)

    monkeypatch.setattr(trainer, "LOOK", 10)
    monkeypatch.setattr(trainer, "draw_batch", stops)
    with pytest.raises(KeyboardInterrupt):
        train(galaxies, SMALL, tmp_path / "part.npz", progress=False)
    monkeypatch.setattr(trainer, "draw_batch", draw_batch)
    rest = train(galaxies, SMALL, tmp_path / "part.npz", resume=True, progress=False)
    np.testing.assert_array_equal(rest.losses, whole.losses)
    for one, other in zip(jax.tree.leaves(rest.network), jax.tree.leaves(whole.network), strict=True):
        np.testing.assert_array_equal(one, other)


def test_refinement_goes_on_with_chains_and_an_interruption_costs_nothing(galaxies, tmp_path, monkeypatch):
    first = EnergyNetwork(jax.random.key(1), "residual", (4, 6, 8))
    settings = dataclasses.replace(refinement(first, num_steps=20, batch=2), checkpoint_every=10)
    monkeypatch.setattr(trainer, "LOOK", 10)
    options = {"network": first, "progress": False}
    whole = train(galaxies, settings, tmp_path / "whole.npz", **options)

    def stops(training_set, tables, seed, step, batch):
        if step == 15:
            raise KeyboardInterrupt
        return draw_batch(training_set, tables, seed, step, batch)

    monkeypatch.setattr(trainer, "draw_batch", stops)
    with pytest.raises(KeyboardInterrupt):
        train(galaxies, settings, tmp_path / "part.npz", **options)
    monkeypatch.setattr(trainer, "draw_batch", draw_batch)
    rest = train(galaxies, settings, tmp_path / "part.npz", resume=True, **options)
    without = train(
        galaxies, dataclasses.replace(settings, contrast_weight=0.0), tmp_path / "c.npz", **options
    )
    leaves = [jax.tree.leaves(trained.network) for trained in (whole, rest, without)]
    for one, other in zip(*leaves[:2], strict=True):
        np.testing.assert_array_equal(one, other)
    assert any((one != other).any() for one, other in zip(leaves[0], leaves[2], strict=True))


def test_training_that_diverges_says_so_and_keeps_the_last_checkpoint(galaxies, tmp_path):
    wild = dataclasses.replace(SMALL, learning_rate=1e30, num_steps=60)
    with pytest.raises(ConfigError, match="training diverged: the loss is not finite at step"):
        train(galaxies, wild, tmp_path / "a.npz", progress=False)
    assert not (tmp_path / "a.npz").exists()


def test_checkpoints_of_another_network_are_refused(galaxies, tmp_path):
    short = dataclasses.replace(SMALL, num_steps=2)
    train(galaxies, short, tmp_path / "a.npz", progress=False)
    other = EnergyNetwork(jax.random.key(0), "score", (6, 6, 8))
    with pytest.raises(FileFormatError, match="another network"):
        train(galaxies, short, tmp_path / "a.npz", network=other, resume=True, progress=False)


def test_checkpoints_of_other_training_are_refused(galaxies, tmp_path):
    short = dataclasses.replace(SMALL, num_steps=2)
    train(galaxies, short, tmp_path / "a.npz", progress=False)
    with pytest.raises(FileFormatError, match="other settings or galaxies"):
        train(galaxies, dataclasses.replace(short, seed=2), tmp_path / "a.npz", resume=True, progress=False)
    (tmp_path / "a.npz").write_bytes(b"nothing")
    with pytest.raises(FileFormatError, match=r"a.npz cannot be read as a checkpoint"):
        train(galaxies, short, tmp_path / "a.npz", resume=True, progress=False)


def test_bad_settings():
    with pytest.raises(ConfigError, match="num_steps is 0"):
        TrainSettings(num_steps=0)
    with pytest.raises(ConfigError, match="batch 0"):
        TrainSettings(batch=0)
    with pytest.raises(ConfigError, match="contrast_weight -1"):
        TrainSettings(contrast_weight=-1.0)
    with pytest.raises(ConfigError, match="contrast_weight is for energies"):
        TrainSettings(kind="score", contrast_weight=0.1)
    with pytest.raises(ConfigError, match="averaging 1"):
        TrainSettings(averaging=1.0)

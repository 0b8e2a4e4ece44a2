"""The picture of a predictive check."""

import jax

import scoresample as ss
from scoresample.products.predictive_plots import plot_predictive


def test_a_row_for_each_band_with_its_numbers(dark_draws, tmp_path):
    check = ss.predictive_check(jax.random.key(1), dark_draws, 5)
    figure = plot_predictive(check, tmp_path / "fit.png")
    assert (tmp_path / "fit.png").read_bytes()[:4] == b"\x89PNG"
    panels = [axes for axes in figure.axes if axes.get_title()]
    assert len(panels) == 8
    assert f"chi-square {check.table.loc['r', 'chi2']:.3f}" in panels[6].get_title()
    shown = panels[4].images[0].get_array()
    assert shown.mask[20, 17] and not shown.mask[2, 2]  # no data there, in r
    assert not panels[0].images[0].get_array().mask.any()

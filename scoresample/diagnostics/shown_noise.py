"""How the noise of a prior compares with that of the data, where scenes show it."""

import numpy as np

from scoresample.density.posterior import Position, Posterior
from scoresample.models.learned_prior import LearnedPrior
from scoresample.models.morphology import COORDINATE_SCALE


def shown_noise(posterior: Posterior, position: Position) -> dict[str, float]:
    r"""Return the noise that learned priors add to each pixel of a galaxy over that of the data, by source.

    .. math:: r_k = 0.1\, \sigma\, \Big(\sum_b A_{kb}^2\, w_b\Big)^{1/2}

    of a pixel with S near 0, all bands together: A the brightness, w the median inverse variance. A galaxy pays about
    :math:`\tfrac12 \log(1 + r^2)` nats for each pixel of its box. Only of priors that do not hide their noise.
    """
    brightness = np.asarray(posterior.brightness(position), float)
    weight = np.median(np.asarray(posterior.likelihood.root_weight, float), axis=1) ** 2
    signal = np.sqrt(np.sum(brightness**2 * weight[:, None], axis=0))
    priors = {parameter.name: parameter.prior for parameter in posterior.parameters}
    found = {}
    for source, value in zip(posterior.scene.sources, signal, strict=True):
        prior = priors.get(f"{source.name}.image")
        if isinstance(prior, LearnedPrior) and not prior.hides_noise:
            found[source.name] = float(COORDINATE_SCALE * prior.noise_level * value)
    return found

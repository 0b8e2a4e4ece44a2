"""What several tests of diagnostics need."""

import equinox as eqx
import pytest

from scoresample.models.priors import AbstractPrior


class ScoreOnly(AbstractPrior):
    """A prior of which only the score is told."""

    image_prior: eqx.Module
    name: str = eqx.field(static=True, default="hidden")
    noise_level: float = eqx.field(static=True, default=0.14)

    def score(self, value):
        return self.image_prior.score(value)


@pytest.fixture(scope="session")
def score_only():
    """Make a prior of another, of which only the score is told."""
    return ScoreOnly

"""Which errors end a scene and which end the program."""

import numpy as np
import pytest

from scoresample.errors import DataError, is_failure


@pytest.mark.parametrize(
    ("error", "ends_only_the_scene"),
    [
        (DataError("bad"), True),
        (MemoryError(), True),
        (RuntimeError("RESOURCE_EXHAUSTED"), True),
        (np.linalg.LinAlgError("singular"), True),
        (ValueError("a mistake of ours"), False),
        (OSError("disk full"), False),
    ],
)
def test_what_numbers_can_lead_to_is_told_from_other_errors(error, ends_only_the_scene):
    assert is_failure(error) == ends_only_the_scene

"""What the tests of pictures share."""

from __future__ import annotations

import pytest
from tiny_vision import save_family


@pytest.fixture
def checkpoint(tmp_path):
    """A function that saves a family's model and processor, and returns the folder."""
    return lambda family: save_family(family, tmp_path / family)

"""Fixtures shared by all rooms."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.helpers import checkpoints


@pytest.fixture(scope="session")
def tiny_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """``tiny_checkpoint(architecture, drop=0.5, seed=0, **config changes)`` -> its folder.

    Made once per session and setting: treat it as read-only, copy it to change it.
    """
    made: dict[str, Path] = {}

    def checkpoint(architecture: str = "llama", **settings) -> Path:
        key = repr((architecture, sorted(settings.items())))
        if key not in made:
            folder = tmp_path_factory.mktemp(architecture)
            made[key] = checkpoints.make(folder, architecture, **settings)
        return made[key]

    return checkpoint

"""Fixtures shared by all rooms."""

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import settings as hypothesis_settings

from tests.helpers import checkpoints

# How long an example takes says what else the machine does; whole tests have a limit of their own.
hypothesis_settings.register_profile("dcp", deadline=None)
hypothesis_settings.load_profile("dcp")


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

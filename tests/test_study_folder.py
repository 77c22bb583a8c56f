"""A study's windows fit with all that a tokenizer adds, and its folder is one study's."""

from __future__ import annotations

import json
import os
import re
from dataclasses import asdict
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from dcp.errors import RequestError
from dcp.study.folder import record_share
from dcp.study.plan import StudyPlan, cut

PLAN = StudyPlan(
    file="texts.txt",
    text_sha256="0" * 64,
    model="tiny",
    weights_sha256="0" * 64,
    gate_shift=0.0,
    new_tokens=0,
    seed=0,
    context=64,
    windows=0,
)


class Wrapped:
    """Four characters a token; puts a start in front, an end behind, a mark before a space."""

    def encode(self, text: str) -> Any:
        spans = [match.span() for match in re.finditer(r"\s*\S{1,4}", text)]
        front = [(0, 0)] * (1 + text.startswith(" "))
        return SimpleNamespace(offsets=np.array([*front, *spans, (len(text),) * 2], np.int32))


@pytest.mark.parametrize("room", [4, 7, 63])
def test_every_window_fits_with_what_the_tokenizer_puts_around_it(room: int) -> None:
    text = " ".join(f"word{i}" for i in range(200))
    windows = cut([text], Wrapped(), room)  # type: ignore[arg-type]
    assert "".join(window.text for window in windows) == text
    assert max(len(Wrapped().encode(window.text).offsets) for window in windows) in (room, room - 1)


def claim(folder: Path) -> None:
    record_share(folder, PLAN, [], None, None)  # type: ignore[arg-type]


def test_a_plan_that_a_kill_left_empty_claims_nothing(tmp_path: Path) -> None:
    (tmp_path / "windows").mkdir()
    (tmp_path / "plan.json").touch()
    old, new = tmp_path / "windows" / ".a.1.part", tmp_path / "windows" / ".b.2.part"
    for part in (old, new):
        part.touch()
    os.utime(old, (0, 0))
    claim(tmp_path)
    assert json.loads((tmp_path / "plan.json").read_text()) == asdict(PLAN)
    assert not old.exists(), "what a kill left long ago"
    assert new.exists(), "another process may be writing it"
    claim(tmp_path)


@pytest.mark.parametrize("what", ["folder", "other", "bytes"])
def test_a_folder_that_holds_something_else_is_refused(tmp_path: Path, what: str) -> None:
    plan = tmp_path / "plan.json"
    if what == "folder":
        plan.mkdir()
    else:
        plan.write_bytes(b"{}" if what == "other" else b"\xff\xfe")
    with pytest.raises(RequestError):
        claim(tmp_path)

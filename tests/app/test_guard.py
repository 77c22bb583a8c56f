"""Uploads have bounds and departures free what they held, against Streamlit's own classes."""

from __future__ import annotations

import gc
import weakref

import pytest
from starlette.exceptions import HTTPException
from streamlit.runtime.memory_uploaded_file_manager import MemoryUploadedFileManager
from streamlit.runtime.uploaded_file_manager import UploadedFileRec

from dcp.ui.guard import Departures, bounded, give_back

EACH = 1000


def files() -> MemoryUploadedFileManager:
    made = MemoryUploadedFileManager("/upload")
    made.add_file = bounded(made, EACH)  # type: ignore[method-assign]
    return made


def add(to: MemoryUploadedFileManager, window: str, name: str, size: int) -> None:
    to.add_file(window, UploadedFileRec(name, name, "application/octet-stream", bytes(size)))


def names(of: MemoryUploadedFileManager, window: str) -> list[str]:
    return list(of.file_storage[window])


def test_new_files_of_a_window_take_the_room_of_its_oldest() -> None:
    kept = files()
    for i in range(9):
        add(kept, "me", str(i), EACH)
    add(kept, "you", "mine", EACH)
    assert names(kept, "me") == ["5", "6", "7", "8"]
    assert names(kept, "you") == ["mine"]
    add(kept, "me", "9", 1)
    assert names(kept, "me") == ["6", "7", "8", "9"]


def test_empty_files_are_counted_too() -> None:
    kept = files()
    for i in range(1000):
        add(kept, "me", str(i), 0)
    assert names(kept, "me") == [str(i) for i in range(984, 1000)]


def test_a_file_beyond_the_bound_of_one_or_of_all_is_refused() -> None:
    kept = files()
    with pytest.raises(HTTPException):
        add(kept, "me", "large", EACH + 1)
    for i in range(32):
        add(kept, f"window {i}", "file", EACH)
    with pytest.raises(HTTPException):
        add(kept, "late", "file", 1)
    kept.remove_session_files("window 3")
    add(kept, "late", "file", 1)


def test_a_window_is_closed_when_it_has_been_gone_for_long_enough() -> None:
    there, closed = {"a", "b"}, []
    seen = Departures(there.__contains__, closed.append, stay=60)
    for name in ("a", "b"):
        seen.note(name)
    assert seen.sweep(0) == []
    there.remove("a")
    assert seen.sweep(10) == seen.sweep(60) == []
    # A phone that lost its net for a moment comes back to its page.
    there.add("a")
    assert seen.sweep(69) == []
    there.remove("a")
    assert seen.sweep(100) == []
    assert seen.sweep(160) == closed == ["a"]
    assert seen.sweep(999) == []


def test_what_was_frozen_while_it_was_in_use_is_freed_when_it_is_not() -> None:
    class Node:
        """Refers to itself, so that only the collector can free it."""

        def __init__(self) -> None:
            self.me = self

    node = Node()
    gone = weakref.ref(node)
    gc.freeze()
    del node
    gc.collect()
    assert gone() is not None
    give_back()
    assert gone() is None

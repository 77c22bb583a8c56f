"""A trace file is measured by what pages would do with it, not by its bytes alone."""

from __future__ import annotations

import numpy as np
import pytest

from dcp.trace import Trace
from dcp.ui.settings import read
from dcp.ui.upload import _read
from tests.helpers.traces import make_trace

PUBLIC = read({"DCP_PUBLIC": "1"})


def flat(layers: int, pieces: list[str]) -> Trace:
    return make_trace(pieces, np.full((layers, len(pieces)), -1))


@pytest.mark.parametrize(
    ("layers", "pieces", "said"),
    [
        (PUBLIC.layers + 1, ["a ", "b"], "129 layers; at most 128"),
        (PUBLIC.layers, ["a "] * 2049, "128 layers of 2,049 tokens"),
        (1, ["a ", "b" * PUBLIC.characters, "c"], "100,003 characters of text"),
        (PUBLIC.layers, ["a "] * 2048, ""),
    ],
)
def test_what_would_keep_a_page_too_long_is_refused(
    layers: int, pieces: list[str], said: str
) -> None:
    data = flat(layers, pieces).to_bytes()
    assert len(data) < PUBLIC.upload_mib * 2**20
    found = _read("file", len(data), lambda: data, PUBLIC)
    assert said in found.error
    assert (found.trace is None) == bool(said)


def test_a_large_file_is_not_read() -> None:
    def never() -> bytes:
        raise AssertionError

    found = _read("file", PUBLIC.upload_mib * 2**20 + 1, never, PUBLIC)
    assert "larger than 4 MiB" in found.error

"""Parts kept as files: done once, whole or not at all, done anew where damaged."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from dcp.evaluate.parts import Parts
from dcp.evaluate.windows import Windows


def test_a_part_is_made_once_and_one_that_is_damaged_anew(tmp_path: Path) -> None:
    made: list[int] = []
    said: list[str] = []

    def make() -> np.ndarray:
        made.append(1)
        return np.arange(3.0)

    def part(folder: Path | None) -> np.ndarray:
        return Parts(folder, said.append).of("a.json", make, np.asarray, np.ndarray.tolist)

    for _ in range(2):
        assert part(tmp_path).tolist() == [0, 1, 2]
    assert len(made) == 1
    for damaged in (b"", b"[1, 2", b"\xff\xfe"):
        (tmp_path / "a.json").write_bytes(damaged)
        assert part(tmp_path).tolist() == [0, 1, 2]
    assert len(made) == 4
    assert all("damaged: measured again" in line for line in said)
    assert len(said) == 3
    assert [path.name for path in tmp_path.iterdir()] == ["a.json"]
    # Without a folder nothing is kept.
    part(None)
    part(None)
    assert len(made) == 6


def test_arrays_come_back_as_they_were_and_damaged_ones_anew(tmp_path: Path) -> None:
    made: list[int] = []

    def make() -> dict[str, np.ndarray]:
        made.append(1)
        return {"nats": np.arange(6.0).reshape(2, 3), "n": np.array([7])}

    def part() -> dict[str, np.ndarray]:
        return Parts(tmp_path).arrays("gates-0.npz", make)

    for _ in range(2):
        assert part()["nats"].tolist() == [[0, 1, 2], [3, 4, 5]]
    assert len(made) == 1
    whole = (tmp_path / "gates-0.npz").read_bytes()
    pickled = np.array([{"a": 1}], dtype=object)
    for damaged in (b"", whole[:80], whole[: len(whole) - 40], b"PK\x03\x04 no zip"):
        (tmp_path / "gates-0.npz").write_bytes(damaged)
        assert part()["n"].tolist() == [7]
    np.savez(tmp_path / "gates-0.npz", nats=pickled)
    assert part()["n"].tolist() == [7]
    assert len(made) == 6


def test_what_fails_leaves_no_part(tmp_path: Path) -> None:
    def fail() -> float:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Parts(tmp_path).of("a.json", fail, float, float)
    assert not list(tmp_path.iterdir())


def test_windows_come_in_parts_with_the_number_of_their_first() -> None:
    ids = np.arange(15).reshape(5, 3)
    windows = Windows(ids, np.ones_like(ids), np.array([0, 0, 1, 1, 2]))
    parts = list(windows.parts(2))
    assert [start for start, _ in parts] == [0, 2, 4]
    assert np.array_equal(np.concatenate([some.ids for _, some in parts]), ids)
    assert parts[-1][1].documents.tolist() == [2]

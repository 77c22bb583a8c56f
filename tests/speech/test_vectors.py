"""Word vectors and frequencies: words of the same places are near, rates are per million."""

from __future__ import annotations

import lzma
from pathlib import Path

import numpy as np
import pytest

from dcp.errors import DataError
from dcp.speech.training import frequency
from dcp.speech.training.vectors import neighbour_vectors, read_lines

LINES = [
    f"the {noun} {verb} a {thing} ."
    for noun in ("dog", "cat", "man")
    for verb in ("saw", "took", "lost")
    for thing in ("ball", "book", "hat")
]


def test_words_between_the_same_words_get_similar_vectors() -> None:
    words, vectors = neighbour_vectors(LINES, context=12, width=9)
    assert vectors.dtype == np.float32
    assert np.linalg.norm(vectors, axis=1) == pytest.approx(1, abs=1e-5)
    near = vectors @ vectors[words.index("dog")]
    assert near[words.index("cat")] > 0.99
    assert near[words.index("saw")] < 0.5


def test_the_number_of_words_neighbours_and_axes_are_as_asked() -> None:
    words, vectors = neighbour_vectors(LINES, words=7, context=3, width=2)
    assert (len(words), vectors.shape) == (7, (7, 2))
    assert set(words[:3]) == {"the", "a", "."}
    other = neighbour_vectors(LINES, words=7, context=12, width=2)[1]
    assert not np.allclose(np.abs(vectors), np.abs(other))


def test_vectors_are_the_same_every_time() -> None:
    first, second = (neighbour_vectors(LINES, context=12, width=4)[1] for _ in range(2))
    assert np.array_equal(first, second)


def test_too_little_text_is_refused() -> None:
    with pytest.raises(DataError, match="too little text"):
        neighbour_vectors(["one word"], width=40)


def test_a_missing_or_broken_text_is_refused_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "bad.xz").write_bytes(b"not xz")
    for name in ("missing.xz", "bad.xz"):
        with pytest.raises(DataError) as error:
            list(read_lines([str(tmp_path / name)]))
        assert "\n" not in str(error.value)


def test_the_frequency_table_is_per_million_and_leaves_out_marks(tmp_path: Path) -> None:
    text, out = tmp_path / "text.xz", tmp_path / "table.tsv.xz"
    text.write_bytes(lzma.compress(b"The the cat . 42\n\nThe dog"))
    assert frequency.main(["--text", str(text), "--out", str(out)]) == 0
    lines = lzma.decompress(out.read_bytes()).decode().splitlines()
    rates = {word: float(rate) for word, rate in (line.split("\t") for line in lines)}
    assert rates == {"the": 6e5, "cat": 2e5, "dog": 2e5}


def test_a_text_without_words_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = tmp_path / "text.xz"
    text.write_bytes(lzma.compress(b"42 . !\n"))
    assert frequency.main(["--text", str(text), "--out", str(tmp_path / "out")]) == 2
    assert capsys.readouterr().err.startswith("error: no word")
    assert not (tmp_path / "out").exists()

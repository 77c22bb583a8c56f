"""Every command cuts a text into the same documents."""

from __future__ import annotations

import lzma
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dcp.errors import DataError
from dcp.text.documents import documents_of, read_documents

ODD = st.text(alphabet="ab \t\u00a0\u2028\u2029\x0b\x0c\x85\x1c\r\n\ufeff", max_size=40)


@pytest.mark.parametrize("blank", ["", " ", "\t", "\u00a0", "\u3000"])
def test_a_line_of_white_space_ends_a_document(blank: str) -> None:
    assert documents_of(f"one\nstill one\n{blank}\ntwo") == ["one\nstill one", "two"]


@pytest.mark.parametrize("inside", ["\u2028", "\x0c", "\x85", "\x0b", "\x1c"])
def test_only_newlines_end_a_line(inside: str) -> None:
    assert documents_of(f"one{inside}{inside}still one\n\ntwo") == [
        f"one{inside}{inside}still one",
        "two",
    ]


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("name", ["text.txt", "text.txt.xz"])
def test_a_file_is_read_as_text_is_cut(tmp_path: Path, end: str, name: str) -> None:
    data = f"\ufeffone{end}more{end} {end}{end}two".encode()
    path = tmp_path / name
    path.write_bytes(lzma.compress(data) if name.endswith(".xz") else data)
    assert list(read_documents(path)) == [["one", "more"], ["two"]]


@given(ODD)
def test_a_file_and_a_text_have_the_same_documents(
    tmp_path_factory: pytest.TempPathFactory, text: str
) -> None:
    path = tmp_path_factory.mktemp("documents") / "text.txt"
    path.write_bytes(text.encode())
    assert ["\n".join(d).strip() for d in read_documents(path)] == documents_of(text)


def test_what_is_no_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "bad.txt").write_bytes(b"\xff\xfe")
    (tmp_path / "bad.txt.xz").write_bytes(b"no archive")
    for name in ("bad.txt", "bad.txt.xz", "missing.txt"):
        with pytest.raises(DataError, match="cannot read text"):
            list(read_documents(tmp_path / name))

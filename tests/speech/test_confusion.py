"""The table of the tagger's errors, by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import numpy as np

from dcp.speech.tagger import UPOS, Tagger
from dcp.speech.training.confusion import confusion_counts, write_confusion
from dcp.speech.training.treebank import Sentence


class Said:
    """Calls every word a noun, and cuts "can't" as the treebank does not."""

    def tag(self, text: str) -> list[tuple[int, int, str]]:
        spans, at = [], 0
        for word in text.split():
            start = text.index(word, at)
            at = start + len(word)
            spans.append((start, at, "NOUN"))
        return spans


def test_errors_are_counted_where_both_cut_alike(tmp_path: Path) -> None:
    first = Sentence(("We", "can", "n't"), ("PRON", "AUX", "PART"), (True, False, False), "", True)
    sentences = [
        Sentence(first.words, first.pos, first.spaces, "We can't", True),
        Sentence(("Dogs", "bark"), ("NOUN", "VERB"), (True, False), "Dogs bark", False),
    ]
    counts = confusion_counts(cast(Tagger, cast(Any, Said())), sentences)
    assert counts.sum() == 3
    noun = UPOS.index("NOUN")
    assert [counts[UPOS.index(tag), noun] for tag in ("PRON", "NOUN", "VERB")] == [1, 1, 1]
    write_confusion(counts, tmp_path / "confusion.tsv")
    lines = (tmp_path / "confusion.tsv").read_text().splitlines()
    assert lines[0].split("\t") == ["true", *UPOS]
    read = np.array([[int(cell) for cell in line.split("\t")[1:]] for line in lines[1:]])
    assert np.array_equal(read, counts)

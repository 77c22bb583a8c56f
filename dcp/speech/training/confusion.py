"""Count what the tagger takes for what.

    python -m dcp.speech.training.confusion --dev F --out T

Raw text of whole documents, as the app tags it; words that the tagger cuts otherwise than the
treebank have no tag to compare and are left out. Knows nothing of models and traces.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from dcp.errors import DcpError
from dcp.speech.tagger import BUNDLED, UPOS, Tagger, load_tagger
from dcp.speech.training.treebank import Sentence, documents, read_conllu

__all__ = ["confusion_counts", "write_confusion"]


def confusion_counts(tagger: Tagger, sentences: Sequence[Sentence]) -> npt.NDArray[np.int64]:
    """[17, 17] int64: words with true tag ``UPOS[i]`` that the tagger calls ``UPOS[j]``."""
    counts = np.zeros((len(UPOS), len(UPOS)), np.int64)
    for run in documents(sentences):
        gold, text = {}, ""
        for sentence in run:
            at = 0
            for word, pos in zip(sentence.words, sentence.pos, strict=True):
                start = sentence.text.find(word, at)
                # A multiword token that does not spell out its words has no span to hit.
                if start >= 0:
                    at = start + len(word)
                    gold[len(text) + start, len(text) + at] = pos
            text += sentence.text + " "
        for start, end, said in tagger.tag(text):
            if gold.get((start, end)) in UPOS:
                counts[UPOS.index(gold[start, end]), UPOS.index(said)] += 1
    return counts


def write_confusion(counts: npt.NDArray[np.int64], out: str | Path) -> None:
    """A table with a heading line of tags: rows are true tags, columns the tagger's."""
    lines = ["\t".join(("true", *UPOS))]
    for tag, row in zip(UPOS, counts.tolist(), strict=True):
        lines.append("\t".join([tag, *map(str, row)]))
    Path(out).write_text("\n".join(lines) + "\n", encoding="utf-8")


def main(argv: Sequence[str] | None = None) -> int:
    """The command; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m dcp.speech.training.confusion",
        description="Make the table of the tagger's errors that the label-noise check draws from.",
        epilog="example: python -m dcp.speech.training.confusion --dev en_ewt-ud-dev.conllu.xz "
        "--out assets/pos/confusion.tsv",
    )
    parser.add_argument("--dev", required=True, help="a treebank the tagger was not trained on")
    parser.add_argument("--out", required=True, help="the table to write (.tsv)")
    args = parser.parse_args(argv)
    try:
        counts = confusion_counts(load_tagger(BUNDLED), read_conllu(args.dev))
    except DcpError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    write_confusion(counts, args.out)
    print(f"{counts.trace() / counts.sum():.1%} of {counts.sum()} words right", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())

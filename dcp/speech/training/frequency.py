"""Count how often English words occur.

    python -m dcp.speech.training.frequency --text F ... --out T

Words are cut by spaCy's English tokenizer, as those of the tagger, and lowercased; the table keeps
what occurs at least once per million words. Knows nothing of models and traces.
"""

from __future__ import annotations

import argparse
import lzma
import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from dcp.errors import DataError, DcpError
from dcp.speech.training.vectors import read_lines

__all__ = ["count_words", "write_table"]


def count_words(lines: Iterable[str]) -> Counter[str]:
    """Occurrences of each lowercased word that has a letter."""
    import spacy
    from spacy.attrs import LOWER

    nlp = spacy.blank("en")
    by_hash: Counter[int] = Counter()
    for doc in nlp.tokenizer.pipe(lines):
        by_hash.update(doc.count_by(LOWER))
    named = {nlp.vocab.strings[key]: count for key, count in by_hash.items()}
    return Counter(
        {word: n for word, n in named.items() if any(character.isalpha() for character in word)}
    )


def write_table(counts: Counter[str], out: str | Path) -> int:
    """Write "word, occurrences per million" lines (tab between, .xz) and return how many."""
    total = sum(counts.values())
    if not total:
        raise DataError("no word in the text: nothing to count")
    rates = ((word, 1e6 * n / total) for word, n in counts.most_common())
    lines = [f"{word}\t{rate:.4g}\n" for word, rate in rates if rate >= 1]
    Path(out).write_bytes(lzma.compress("".join(lines).encode(), preset=9))
    return len(lines)


def main(argv: Sequence[str] | None = None) -> int:
    """The command; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m dcp.speech.training.frequency",
        description="Make the table of word frequencies that the statistics group words by.",
        epilog="example: python -m dcp.speech.training.frequency --text train-00.txt.xz "
        "--out assets/pos/frequency.tsv.xz",
    )
    parser.add_argument("--text", nargs="+", required=True, help="text files (.xz)")
    parser.add_argument("--out", required=True, help="the table to write (.tsv.xz)")
    args = parser.parse_args(argv)
    try:
        kept = write_table(count_words(read_lines(args.text)), args.out)
    except DcpError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(f"{kept} words", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())

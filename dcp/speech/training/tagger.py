"""Train the bundled tagger: ``python -m dcp.speech.training.tagger --train F --dev F --out D``.

A small spaCy pipeline (hashed word features and word vectors, a convolution over 9 words, one
softmax over Universal POS) from Universal Dependencies files (CoNLL-U), with ``--text`` for the
vectors. Runs on one CPU core, seeded; keeps the weights that are best on the development set. Knows
nothing of language models and traces.
"""

from __future__ import annotations

import argparse
import random
import sys
import time
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from dcp.errors import DcpError
from dcp.speech.training.treebank import Sentence, documents, read_conllu
from dcp.speech.training.vectors import neighbour_vectors, read_lines

if TYPE_CHECKING:
    from spacy.language import Language
    from spacy.tokens import Doc
    from spacy.training import Example

Vectors = tuple[list[str], npt.NDArray[np.float32]]

__all__ = ["gold_accuracy", "raw_f1", "save", "train"]


def _doc(nlp: Language, sentences: Sequence[Sentence], breaks: Sequence[bool]) -> Doc:
    """One gold Doc; where ``breaks`` is set a paragraph break (untagged) precedes the sentence."""
    from spacy.tokens import Doc

    words: list[str] = []
    pos: list[str] = []
    spaces: list[bool] = []
    for sentence, broken in zip(sentences, breaks, strict=True):
        if broken and words:
            spaces[-1] = False
            words, pos, spaces = [*words, "\n\n"], [*pos, ""], [*spaces, False]
        words += sentence.words
        pos += sentence.pos
        spaces += sentence.spaces
    return Doc(nlp.vocab, words=words, spaces=spaces, pos=pos)


def _epoch(nlp: Language, texts: Sequence[list[Sentence]], rng: random.Random) -> list[Example]:
    """The training set cut anew: half of it single sentences, half short runs as in pasted text."""
    from spacy.training import Example

    examples = []
    for sentences in texts:
        i = 0
        while i < len(sentences):
            n = 1 if rng.random() < 0.5 else rng.randint(2, 6)
            run = sentences[i : i + n]
            gold = _doc(nlp, run, [rng.random() < 0.2 for _ in run])
            blank = gold.copy()
            for token in blank:
                token.pos_ = ""
            examples.append(Example(blank, gold))
            i += n
    rng.shuffle(examples)
    return examples


def gold_accuracy(nlp: Language, sentences: Sequence[Sentence]) -> float:
    """Share of gold words with the right UPOS, one sentence at a time."""
    docs = nlp.pipe((_doc(nlp, [s], [False]) for s in sentences), batch_size=256)
    right = [
        token.pos_ == gold
        for doc, sentence in zip(docs, sentences, strict=True)
        for token, gold in zip(doc, sentence.pos, strict=True)
    ]
    return float(sum(right) / len(right))


def raw_f1(nlp: Language, sentences: Sequence[Sentence]) -> float:
    """F1 of (span, UPOS) on raw text of whole documents: tokenisation errors count."""
    right = said = true = 0
    for run in documents(sentences):
        gold, text = set(), ""
        for sentence in run:
            at = 0
            for word, pos in zip(sentence.words, sentence.pos, strict=True):
                start = sentence.text.find(word, at)
                true += 1
                # A multiword token that does not spell out its words has no span to hit.
                if start >= 0:
                    at = start + len(word)
                    gold.add((len(text) + start, len(text) + at, pos))
            text += sentence.text + " "
        ours = {(t.idx, t.idx + len(t), t.pos_) for t in nlp(text) if not t.is_space}
        right, said = right + len(gold & ours), said + len(ours)
    return 2 * right / (said + true)


def _pipeline(vectors: Vectors | None, width: int, depth: int, rows: Sequence[int]) -> Language:
    import spacy
    from spacy.vectors import Vectors as Table

    nlp = spacy.blank("en")
    if vectors is not None:
        words, data = vectors
        table = Table(strings=nlp.vocab.strings, keys=words, data=data, name="neighbours")
        # A saved table knows only words as written, so the capitalised form is a key of its own.
        for row, word in enumerate(words):
            if word.capitalize() not in table:
                table.add(word.capitalize(), row=row)
        nlp.vocab.vectors = table
    config: dict[str, Any] = {
        "model": {
            "@architectures": "spacy.Tagger.v2",
            "tok2vec": {
                "@architectures": "spacy.Tok2Vec.v2",
                "embed": {
                    "@architectures": "spacy.MultiHashEmbed.v2",
                    "width": width,
                    "attrs": ["NORM", "PREFIX", "SUFFIX", "SHAPE"],
                    "rows": list(rows),
                    "include_static_vectors": vectors is not None,
                },
                "encode": {
                    "@architectures": "spacy.MaxoutWindowEncoder.v2",
                    "width": width,
                    "depth": depth,
                    "window_size": 1,
                    "maxout_pieces": 3,
                },
            },
        }
    }
    nlp.add_pipe("morphologizer", config=config)
    return nlp


def train(
    train_set: Sequence[Sentence],
    dev_set: Sequence[Sentence],
    *,
    vectors: Vectors | None = None,
    epochs: int = 20,
    seed: int = 0,
    width: int = 96,
    depth: int = 4,
    rows: Sequence[int] = (2500, 1000, 2500, 1000),
    dropout: float = 0.25,
) -> Language:
    """A pipeline trained on ``train_set``, at the epoch best on ``dev_set`` (gold words).

    ``vectors`` are words and their vectors, made by `dcp.speech.training.vectors`.
    """
    import spacy
    from spacy.training.batchers import minibatch_by_words
    from thinc.api import compounding

    spacy.util.fix_random_seed(seed)
    rng = random.Random(seed)
    nlp = _pipeline(vectors, width, depth, rows)
    texts = list(documents(train_set))
    optimizer = nlp.initialize(lambda: _epoch(nlp, texts, rng))
    optimizer.L2 = 0.01
    best, best_bytes = -1.0, b""
    sizes = compounding(500, 2000, 1.0005)
    updates, total = 0, epochs * sum(len(s.words) for s in train_set)
    for epoch in range(epochs):
        began, loss = time.monotonic(), {"morphologizer": 0.0}
        for batch in minibatch_by_words(_epoch(nlp, texts, rng), size=sizes):
            updates += sum(len(example.reference) for example in batch)
            optimizer.learn_rate = 1e-3 * max(0.05, 1 - updates / total)
            nlp.update(batch, drop=dropout, sgd=optimizer, losses=loss)
        with nlp.use_params(optimizer.averages):
            accuracy = gold_accuracy(nlp, dev_set)
            if accuracy > best:
                best, best_bytes = accuracy, nlp.to_bytes(exclude=["vocab"])
        print(
            f"epoch {epoch + 1}/{epochs}  loss {loss['morphologizer']:.0f}  "
            f"dev UPOS {accuracy:.4f}  {time.monotonic() - began:.0f} s",
            file=sys.stderr,
            flush=True,
        )
    return nlp.from_bytes(best_bytes, exclude=["vocab"])


def main(argv: Sequence[str] | None = None) -> int:
    """The command; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m dcp.speech.training.tagger",
        description="Train the bundled part-of-speech tagger (spaCy, CPU, about ten minutes).",
        epilog="example: python -m dcp.speech.training.tagger --train en_ewt-ud-train.conllu.xz "
        "--dev en_ewt-ud-dev.conllu.xz --text train-02.txt.xz --out assets/pos",
    )
    parser.add_argument("--train", required=True, help="CoNLL-U file to train on (.xz is read too)")
    parser.add_argument("--dev", required=True, help="CoNLL-U file to choose the best epoch on")
    parser.add_argument("--text", nargs="*", default=[], help="plain text (.xz) for word vectors")
    parser.add_argument("--out", required=True, help="folder of the trained pipeline")
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args(argv)
    try:
        train_set, dev_set = read_conllu(args.train), read_conllu(args.dev)
        vectors = neighbour_vectors(read_lines(args.text)) if args.text else None
        nlp = train(train_set, dev_set, vectors=vectors, epochs=args.epochs, seed=args.seed)
    except DcpError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    save(nlp, dev_set, args.out)
    return 0


def save(nlp: Language, dev_set: Sequence[Sentence], out: str | Path) -> None:
    """Write the pipeline and its figures on ``dev_set`` to the folder ``out``."""
    nlp.meta |= {
        "name": "dcp_ewt",
        "version": "1.0.0",
        "description": "Universal POS for English, trained on UD English EWT",
        "license": "CC BY-SA 4.0",
        "sources": ["Universal Dependencies English EWT, CC BY-SA 4.0"],
        "trained": date.today().isoformat(),
        "performance": {
            "pos_acc": round(gold_accuracy(nlp, dev_set), 4),
            "pos_f1_raw": round(raw_f1(nlp, dev_set), 4),
        },
    }
    nlp.to_disk(out)


if __name__ == "__main__":
    sys.exit(main())

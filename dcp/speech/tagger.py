"""Parts of speech: text -> words with a Universal POS tag, by a spaCy pipeline on the CPU.

The bundled pipeline (``assets/pos``, made by ``python -m dcp.speech.training.tagger``) is the
default; an installed ``en_core_web_*`` can take its place. English only. Knows nothing of tokens
and traces. Importing this module does not import spaCy; `load_tagger` does.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from importlib.metadata import entry_points
from itertools import pairwise
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING

from dcp.errors import RequestError
from dcp.resources import asset, needs

if TYPE_CHECKING:
    from spacy.language import Language
    from spacy.tokens import Doc

__all__ = [
    "BUNDLED",
    "CLASSES",
    "GROUPS",
    "UPOS",
    "Tagger",
    "available_taggers",
    "class_of",
    "group_of",
    "load_tagger",
    "open_pipeline",
]

UPOS = (
    *("NOUN", "PROPN", "ADJ"),
    *("VERB", "AUX", "ADV"),
    *("ADP", "DET", "PRON", "CCONJ", "SCONJ", "PART"),
    *("PUNCT", "NUM", "SYM", "INTJ", "X"),
)
"""The 17 Universal POS tags, in the order charts show them."""

GROUPS = {
    "naming": ("NOUN", "PROPN", "ADJ"),
    "verbal": ("VERB", "AUX", "ADV"),
    "function": ("ADP", "DET", "PRON", "CCONJ", "SCONJ", "PART"),
    "punctuation": ("PUNCT",),
    "number-other": ("NUM", "SYM", "INTJ", "X"),
}
"""Five groups of tags that share a colour, in the order charts show them."""

CLASSES = {
    "content": ("NOUN", "PROPN", "ADJ", "VERB", "ADV", "INTJ"),
    "function": ("ADP", "DET", "PRON", "CCONJ", "SCONJ", "PART", "AUX", "NUM"),
    "neither": ("PUNCT", "SYM", "X"),
}
"""Content words, function words and the rest: the open, closed and other tags of UD version 2."""

BUNDLED = "dcp-ewt"
"""The name of the bundled tagger."""

_FOLDER = asset("pos")
_LONGEST = 500


def group_of(pos: str) -> str:
    """The group of ``GROUPS`` that a tag belongs to; an unknown tag is of "number-other"."""
    return next((name for name, tags in GROUPS.items() if pos in tags), "number-other")


def class_of(pos: str) -> str:
    """The class of ``CLASSES`` that a tag belongs to; an unknown tag is of "neither"."""
    return next((name for name, tags in CLASSES.items() if pos in tags), "neither")


class Tagger:
    """A loaded spaCy pipeline that gives Universal POS; safe to share between threads."""

    def __init__(self, name: str, nlp: Language) -> None:
        self.name = name
        self._nlp = nlp
        # spaCy's string store is not made for concurrent writers.
        self._lock = Lock()

    @property
    def accuracy(self) -> float | None:
        """Share of right UPOS on its own development set with gold words, where it states one."""
        value = self._nlp.meta.get("performance", {}).get("pos_acc")
        return None if value is None else float(value)

    def tag(self, text: str) -> list[tuple[int, int, str]]:
        """The words of ``text`` as (start, end, UPOS), offsets in Unicode code points.

        White space is never a word. Contractions are cut as in Universal Dependencies.

        >>> load_tagger().tag("It isn't.")
        [(0, 2, 'PRON'), (3, 5, 'AUX'), (5, 8, 'PART'), (8, 9, 'PUNCT')]
        """
        if not text or text.isspace():
            return []
        # The zone frees the words of this text again: a server sees very many texts.
        with self._lock, self._nlp.memory_zone():
            doc = self._nlp(self._cut(text))
            return [
                (token.idx, token.idx + len(token), _known(token.pos_))
                for token in doc
                if not token.is_space
            ]

    def _cut(self, text: str) -> str | Doc:
        """``text`` as spaCy takes it: as its words where a stretch without white space is long.

        spaCy takes punctuation off such a stretch a character at a time and copies the rest each
        time: minutes for 20,000 brackets. It is given parts of the stretch.
        """
        cuts = [
            at
            for run in re.finditer(rf"\S{{{_LONGEST},}}", text)
            for at in (*range(run.start(), run.end(), _LONGEST), run.end())
        ]
        if not cuts:
            return text
        from spacy.tokens import Doc

        parts = [text[a:b] for a, b in pairwise([0, *cuts, len(text)])]
        tokens = [token for part in parts if part for token in self._nlp.tokenizer(part)]
        spaces = [bool(token.whitespace_) for token in tokens]
        return Doc(self._nlp.vocab, words=[token.text for token in tokens], spaces=spaces)

    def tag_pretokenized(self, words: Sequence[str]) -> list[str]:
        """One UPOS for each of ``words``, in context; "X" for a word that is only white space."""
        from spacy.tokens import Doc

        where = [i for i, word in enumerate(words) if word and not word.isspace()]
        tags = ["X"] * len(words)
        if not where:
            return tags
        with self._lock, self._nlp.memory_zone():
            doc = self._nlp(Doc(self._nlp.vocab, words=[words[i] for i in where]))
            for i, token in zip(where, doc, strict=True):
                tags[i] = _known(token.pos_)
        return tags


def _known(pos: str) -> str:
    return pos if pos in UPOS else "X"


def available_taggers() -> list[str]:
    """The names `load_tagger` takes: the bundled tagger, then installed English spaCy models."""
    installed = {entry.name for entry in entry_points(group="spacy_models")}
    return [BUNDLED, *sorted(name for name in installed if name.startswith("en_core_web_"))]


def load_tagger(name: str | None = None) -> Tagger:
    """The tagger called ``name`` (default: the bundled one). Loading takes a second, once.

    Raises RequestError for an unknown name and where spaCy or the files are missing.
    """
    return _load(BUNDLED if name is None else name)


@lru_cache(maxsize=2)
def _load(name: str) -> Tagger:
    if name not in available_taggers():
        raise RequestError(
            f"no tagger {name!r}: choose one of {', '.join(available_taggers())}, "
            "or install one (python -m spacy download en_core_web_sm)"
        )
    return open_pipeline(name, _FOLDER if name == BUNDLED else name)


def open_pipeline(name: str, source: str | Path) -> Tagger:
    """A tagger from a spaCy package name or folder; raises RequestError if it does not load."""
    needs("spacy")
    try:
        import spacy

        nlp = spacy.load(source, exclude=["parser", "ner", "lemmatizer"])
    except (ImportError, OSError, ValueError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise RequestError(f"the tagger {name!r} cannot be loaded: {reason}") from error
    # No parser, no NER: memory grows with the text alone, so spaCy's one-million guard can go.
    nlp.max_length = 2**31
    return Tagger(name, nlp)

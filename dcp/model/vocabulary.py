"""Dynamic embedding pruning: only the rows of the vocabulary that a corpus uses.

    model = open_seen("smollm2-135m", corpus_text)        # an `OpenModel` like any other
    run = dcp.record(text, model=model)                   # tokens in the trace keep their own ids

Rows of the embedding and of the head that no token of the corpus names are left out, ids are
renumbered on the way in and back on the way out. Keys, gates and deaths are those of the whole
model; the softmax is over the rows kept, so log-probs are higher than the whole model's, and only
kept tokens can be drawn. With a tied head the two are one matrix: input rows alone cannot be left
out, since every row is needed again to say how likely it is.

Source: Williams and Aletras, 2023, arXiv 2309.08708.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from dcp.errors import ModelError, RequestError
from dcp.model.checkpoint import Checkpoint
from dcp.model.registry import OpenModel, describe, find
from dcp.model.transformer import Transformer
from dcp.model.weights import LoadedModel, load
from dcp.text.encoding import Encoding
from dcp.text.stream import TextStream
from dcp.text.tokens import Tokenizer

__all__ = ["SeenTokenizer", "Vocabulary", "open_seen", "restore", "restrict", "seen"]

Ids = npt.NDArray[np.int64]
_DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


@dataclass(frozen=True, eq=False)
class Vocabulary:
    """kept [V'] int64, ascending: the ids whose rows are there, of a vocabulary of ``size``.

    row_bytes is what one id costs: its row of the embedding, and of the head where that is another.
    """

    kept: Ids
    size: int
    row_bytes: int

    @property
    def place(self) -> Ids:
        """[V]: the row of each id, -1 where it is left out."""
        place = np.full(self.size, -1, np.int64)
        place[self.kept] = np.arange(len(self.kept))
        return place

    @property
    def bytes(self) -> int:
        """Bytes of embedding and head as they are."""
        return len(self.kept) * self.row_bytes

    @property
    def bytes_saved(self) -> int:
        """Bytes of the rows left out."""
        return (self.size - len(self.kept)) * self.row_bytes

    def to_json(self) -> dict[str, int]:
        return {
            "kept": len(self.kept),
            "of": self.size,
            "bytes": self.bytes,
            "bytes_saved": self.bytes_saved,
        }


class SeenTokenizer(Tokenizer):
    """A tokenizer whose encodings name rows kept; streams of text speak of whole ids again."""

    def __init__(self, whole: Tokenizer, vocabulary: Vocabulary) -> None:
        super().__init__(whole.backend)
        self._vocabulary, self._place = vocabulary, vocabulary.place

    def encode(self, text: str) -> Encoding:
        """Rows and spans of ``text``. Raises RequestError for a token that was not kept."""
        found = super().encode(text)
        rows = self._place[found.ids]
        if (rows < 0).any():
            at = int((rows < 0).argmax())
            piece = self.token_bytes(int(found.ids[at])).decode(errors="replace")
            raise RequestError(
                f"the text has token {piece!r}, which the corpus of this vocabulary has not; "
                "add the text to it"
            )
        return dataclasses.replace(found, ids=rows.astype(np.int32))

    def stream(self, prompt: Encoding) -> TextStream:
        return _SeenStream(self, prompt, self._vocabulary.kept)


class _SeenStream(TextStream):
    def __init__(self, tokenizer: Tokenizer, prompt: Encoding, kept: Ids) -> None:
        whole = kept[prompt.ids].astype(np.int32)
        super().__init__(tokenizer, dataclasses.replace(prompt, ids=whole))
        self._kept = kept

    def append(self, ids: Iterable[int]) -> None:
        super().append(self._kept[list(ids)].tolist())


def open_seen(
    name: str | Path | None,
    corpus: Iterable[str],
    dtype: str = "float32",
    *,
    gates: bool = True,
    base: str | Path | None = None,
) -> OpenModel:
    """`open_model` with the rows alone that the texts of ``corpus`` use, and those that end a text.

    The whole matrix is let go at once. Raises ModelError, RequestError for an empty corpus, or
    weights in blocks (int8, int4), whose rows are not stored apart.
    """
    if dtype not in _DTYPES:
        raise _blocks(dtype)
    folder = find(name)
    checkpoint = Checkpoint.read(folder, base)
    size, stop_ids = checkpoint.config.vocab, checkpoint.stop_ids
    kept = _kept(checkpoint.tokenizer, size, stop_ids, corpus)
    return _seen(
        OpenModel(
            describe(folder, gates=gates),
            load(checkpoint, _DTYPES[dtype], gates=gates),
            checkpoint.tokenizer,
            stop_ids,
            dtype,
            checkpoint.chat_template,
        ),
        kept,
    )


def seen(model: OpenModel, corpus: Iterable[str]) -> OpenModel:
    """``model`` with the rows alone that the texts of ``corpus`` use, and those that end a text.

    All other weights are shared; ``model`` itself stays whole. Raises as `open_seen`.
    """
    if model.vocabulary is not None:
        raise RequestError("this model has the rows of seen tokens alone: give it whole")
    if model.dtype not in _DTYPES:
        raise _blocks(model.dtype)
    size = model.loaded.config.vocab
    return _seen(model, _kept(model.tokenizer, size, model.stop_ids, corpus))


def _blocks(dtype: str) -> RequestError:
    return RequestError(f"a vocabulary of seen tokens needs float32 or bfloat16, not {dtype}")


def _kept(tokenizer: Tokenizer, size: int, stop_ids: Sequence[int], corpus: Iterable[str]) -> Ids:
    counts = np.zeros(size, np.int64)
    for text in corpus:
        counts += np.bincount(tokenizer.encode(text).ids, minlength=size)
    if not counts.any():
        raise RequestError("the corpus has no text: a vocabulary of seen tokens needs some")
    counts[[token for token in stop_ids if token < size]] += 1
    return np.flatnonzero(counts)


def _seen(model: OpenModel, kept: Ids) -> OpenModel:
    loaded, vocabulary = restrict(model.loaded, kept)
    place = vocabulary.place
    return dataclasses.replace(
        model,
        loaded=loaded,
        tokenizer=SeenTokenizer(model.tokenizer, vocabulary),
        stop_ids=tuple(int(place[token]) for token in model.stop_ids if token < len(place)),
        vocabulary=vocabulary,
    )


def restrict(model: LoadedModel, kept: Sequence[int] | Ids) -> tuple[LoadedModel, Vocabulary]:
    """The same model with the rows ``kept`` (distinct ids) alone; other weights are shared.

    Raises RequestError for ids that are none, ModelError for weights in blocks.
    """
    ids = np.unique(np.asarray(kept, np.int64))
    config, whole = model.config, model.transformer
    if not len(ids) or len(ids) != len(kept) or ids[0] < 0 or ids[-1] >= config.vocab:
        raise RequestError(f"the ids kept must be distinct and from 0 to {config.vocab - 1}")
    if not isinstance(whole.unembed, torch.nn.Linear):
        raise ModelError("weights in blocks have no rows to leave out; use float32 or bfloat16")
    state, rows = whole.state_dict(), torch.from_numpy(ids)
    row_bytes = config.width * whole.embed.weight.element_size() * (1 if config.tied else 2)
    state["embed.weight"] = state["embed.weight"][rows]
    state["unembed.weight"] = (
        state["embed.weight"] if config.tied else state["unembed.weight"][rows]
    )
    digest = _digest(model.weights_sha256, ids)
    made = _assembled(model, state, len(ids))
    base = None if model.read_base is None else lambda: restrict(model.untouched, kept)[0]
    # What is read with other rows is not what the whole model reads: another name for the weights.
    named = dataclasses.replace(
        made, weights_sha256=digest, read_base=base, base_sha256=_digest(model.base_sha256, ids)
    )
    return named, Vocabulary(ids, config.vocab, row_bytes)


def restore(model: LoadedModel, vocabulary: Vocabulary, whole: LoadedModel) -> LoadedModel:
    """``model`` with all rows again: its own where it has them, those of ``whole`` elsewhere.

    Raises RequestError where ``whole`` has another shape.
    """
    if whole.config != dataclasses.replace(model.config, vocab=vocabulary.size):
        raise RequestError("these rows belong to another model: give the one they were taken from")
    state, all_rows = model.transformer.state_dict(), whole.transformer.state_dict()
    rows = torch.from_numpy(vocabulary.kept)
    for name in ("embed.weight",) if model.config.tied else ("embed.weight", "unembed.weight"):
        full = all_rows[name].clone()
        full[rows] = state[name]
        state[name] = full
    if model.config.tied:
        state["unembed.weight"] = state["embed.weight"]
    made = _assembled(model, state, vocabulary.size)
    return dataclasses.replace(
        made,
        weights_sha256=whole.weights_sha256,
        read_base=whole.read_base,
        base_sha256=whole.base_sha256,
    )


def _digest(weights: str, ids: Ids) -> str:
    return hashlib.sha256(weights.encode() + ids.tobytes()).hexdigest()


def _assembled(model: LoadedModel, state: dict[str, torch.Tensor], vocab: int) -> LoadedModel:
    config = dataclasses.replace(model.config, vocab=vocab)
    with torch.device("meta"):
        made = Transformer(config, model.transformer.interaction)
    made.load_state_dict(state, assign=True)
    if config.tied:
        made.unembed.weight = made.embed.weight
    made.eval().requires_grad_(False)
    return dataclasses.replace(model, transformer=made, config=config)

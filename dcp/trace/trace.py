"""Trace: what one run leaves, and the only thing statistics, figures and pages read.

A trace says, for every layer and token, at which step the layer dropped the token. Dimensions:
``L`` layers, ``T`` tokens, ``t`` a step (query position), ``j`` a token (key position). Token ``j``
is visible at step ``t`` iff ``j <= t < death[j]``; the query that drops a token does not see it.

Numpy and safetensors only: knows no model, no words, no plots.
`dcp.trace.check` says what holds of every trace.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from dataclasses import dataclass, fields
from html import escape
from typing import TYPE_CHECKING, Self

import numpy as np
import numpy.typing as npt

from dcp.deaths import ALIVE
from dcp.errors import RequestError, TraceError
from dcp.text.spans import fragments_of, pieces_of
from dcp.trace import file as trace_file
from dcp.trace import late, survivors
from dcp.trace.check import check
from dcp.trace.meta import Meta

if TYPE_CHECKING:
    import pandas as pd

    from dcp.trace.frame import WordLike

__all__ = ["ALIVE", "Trace"]

Ints = npt.NDArray[np.int32]
Floats = npt.NDArray[np.float32]


@dataclass(frozen=True, eq=False, repr=False)
class Trace:
    """One run of a pruned model. Checked and copied on construction; raises TraceError.

    token_ids     [T] int32     everything that entered the model, prompt then continuation
    offsets       [T, 2] int32  span of each token in ``text`` (Unicode code points); tokens of one
                                multi-byte character share a span, special tokens have an empty one
    death         [L, T] int32  step at which the layer dropped the token, or ALIVE
    margin        [L, T] f32    gate logit at the death step (<= 0), or the smallest so far for live
                                tokens, gate shift included; nan where no gate spoke
    logprob       [T] f32       natural log of the model's own probability of the token; nan at 0
    step_seconds  [T] f32       wall time of each generated step (s); nan for the prompt
    meta          Meta          model, settings, versions, speed (tokens/s), memory (bytes)

    Optional, from a run with the gates off on the same tokens (else None):
    gates_off_logprob [T] f32, kl [T] f32 (nats), lost_attention [L, T] f32 (share, 0..1).
    Optional, from `dcp.runs.settled` (else None): settled [T] int32, exits [3, T] int32, layers by
    step, -1 where a token was no query.

    >>> run = dcp.record("The museum opened in 1901.", model="dcp-mini", new_tokens=4)
    >>> run.death.shape == (run.layers, run.tokens)
    True
    >>> dcp.Trace.from_bytes(run.to_bytes()) == run
    True
    """

    token_ids: Ints
    offsets: Ints
    death: Ints
    margin: Floats
    logprob: Floats
    step_seconds: Floats
    meta: Meta
    gates_off_logprob: Floats | None = None
    kl: Floats | None = None
    lost_attention: Floats | None = None
    settled: Ints | None = None
    exits: Ints | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.meta, Meta):
            raise TraceError(f"trace meta must be a Meta, not {type(self.meta).__name__}")
        check(self._arrays(), self.meta)
        for name, array in self._arrays().items():
            own = np.array(array, order="C")
            own.flags.writeable = False
            object.__setattr__(self, name, own)

    def _arrays(self) -> dict[str, np.ndarray]:
        names = [field.name for field in fields(self) if field.name != "meta"]
        return {name: getattr(self, name) for name in names if getattr(self, name) is not None}

    @property
    def text(self) -> str:
        """Prompt and continuation as one string."""
        return self.meta.text

    @property
    def prompt_tokens(self) -> int:
        """How many of the tokens the user wrote."""
        return self.meta.prompt_tokens

    @property
    def n_queries(self) -> int:
        """How many positions were queries; the last sampled token has not been one."""
        return self.meta.n_queries

    @property
    def layers(self) -> int:
        """L."""
        return int(self.death.shape[0])

    @property
    def tokens(self) -> int:
        """T."""
        return int(self.death.shape[1])

    def __repr__(self) -> str:
        return (
            f"Trace(tokens={self.tokens}, prompt_tokens={self.prompt_tokens}, "
            f"layers={self.layers}, model={self.meta.model!r}, "
            f"sparsity={self.sparsity_mean_steps():.3f})"
        )

    def __eq__(self, other: object) -> bool:
        """Same meta and bitwise-equal arrays, with nan equal to nan."""
        if not isinstance(other, Trace):
            return NotImplemented
        mine, theirs = self._arrays(), other._arrays()
        return (
            self.meta == other.meta
            and mine.keys() == theirs.keys()
            and all(
                np.array_equal(mine[k], theirs[k], equal_nan=mine[k].dtype.kind == "f")
                for k in mine
            )
        )

    # ---- what was visible when

    def visible(self, t: int) -> npt.NDArray[np.bool_]:
        """[L, T] bool: which tokens each layer can attend to at step ``t`` (0 <= t < T).

        At a step that was not a query (t >= n_queries) this is the last known state.
        """
        if not 0 <= t < self.tokens:
            raise RequestError(f"step {t} is not in this trace: steps are 0 to {self.tokens - 1}")
        born: npt.NDArray[np.bool_] = np.arange(self.tokens) <= t
        return born & (self.death > t)

    def held(self) -> npt.NDArray[np.int64]:
        """[L, n_queries] int64: entries each layer holds at each step, the step's own included.

        >>> # one layer, token 0 dropped at step 2 of 3: held() == [[1, 2, 2]]
        """
        return survivors.held(self.death, self.n_queries)

    # ---- four sparsities, each by its name

    def sparsity_at(self, t: int) -> float:
        """Dropped share of the ``t`` previous tokens, mean over layers (1 <= t < n_queries)."""
        if not 1 <= t < self.n_queries:
            raise RequestError(
                f"sparsity at step {t} is not defined: take a step from 1 to {self.n_queries - 1}"
            )
        return float((self.death[:, :t] <= t).mean())

    def sparsity_at_end(self) -> float:
        """`sparsity_at` the last query; 0 when there was only one query."""
        return self.sparsity_at(self.n_queries - 1) if self.n_queries > 1 else 0.0

    def sparsity_mean_steps(self) -> float:
        """Mean over layers and steps t >= 1 of the dropped share of the t previous tokens."""
        return float(self.sparsity_per_layer().mean())

    def sparsity_per_layer(self) -> npt.NDArray[np.float64]:
        """[L] float64: `sparsity_mean_steps` of each layer; 0 when there was only one query."""
        return survivors.dropped_share(self.death, self.n_queries)

    def sparsity_pairs(self) -> float:
        """Dropped share of all pairs j < t, mean over layers: the training loss's view."""
        return survivors.dropped_pairs(self.death, self.n_queries)

    # ---- the text of tokens

    def piece(self, j: int) -> str:
        """The slice of the text that token ``j`` spans; the whole character for a part of one."""
        start, end = self.offsets[j]
        return self.text[start:end]

    def pieces(self) -> list[str]:
        """One display string per token, never empty: names a token where it stands alone.

        Tokens that share one span (the bytes of an emoji) say which part they are: ``🙂⟨2/3⟩``.
        A token without text (a special token) shows its id: ``⟨0⟩``. Running text: `fragments`.
        """
        return pieces_of(self.text, self.offsets, self.token_ids)

    def fragments(self) -> list[str]:
        """The text cut at the tokens: one string per token, ``"".join(fragments) == text``.

        Of tokens that share a character the first gets it and the others get ``""``; text that no
        token spans goes to the token after it (at the very end, to the last token).
        """
        return fragments_of(self.text, self.offsets)

    # ---- in and out

    def to_bytes(self) -> bytes:
        """The trace as one safetensors file in memory."""
        return trace_file.pack(self._arrays(), json.dumps(self.meta.to_json(), allow_nan=False))

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """The trace in ``data``; raises TraceError on a damaged, hostile or unknown file."""
        arrays, json_meta = trace_file.unpack(data)
        meta = Meta.from_json(json_meta)
        # First, because a file can name arrays that a trace does not have.
        check(arrays, meta)
        return cls(meta=meta, **arrays)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write one safetensors file, whole or not at all; raises TraceError."""
        trace_file.write(path, self.to_bytes())

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Self:
        """Read a saved trace; raises TraceError, refusing an oversized file before reading it."""
        return cls.from_bytes(trace_file.read(path))

    def to_frame(self, words: Iterable[WordLike] | None = None) -> pd.DataFrame:
        """A tidy frame, one row per layer and token (layer-major).

        layer, token (display string), word, pos, source ("prompt" | "generated"), born (step),
        death (step, <NA> while alive), censored (bool), trigger (display string of the token whose
        reading decided it, <NA> while alive), margin. ``words`` defaults to those of the bundled
        tagger; pass ``()`` to leave word and pos <NA> without loading it.
        """
        from dcp.trace.frame import tidy

        return tidy(self, late.words_of(self) if words is None else words)

    def _repr_html_(self) -> str:
        """The static viewer in a frame that may run its own script and nothing else."""
        page = escape(late.page_of(self), quote=True)
        return (
            f'<iframe sandbox="allow-scripts" srcdoc="{page}" '
            'style="width:100%;height:860px;border:0" title="What each layer forgot"></iframe>'
        )

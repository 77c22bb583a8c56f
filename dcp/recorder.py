"""Text in, `Trace` out: opens a model, runs the engine, folds its steps.

    recorder = Recorder.begin("The river rose", new_tokens=20)
    for step in recorder:
        show(recorder.trace())          # valid at any moment between steps

`record` is that without the showing. Knows text, models and the engine; no files, no screens.
"""

from __future__ import annotations

import platform
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import psutil
import tokenizers
import torch

from dcp import __version__
from dcp.config import Sampling
from dcp.engine import Engine, Memory, Step
from dcp.errors import RequestError
from dcp.models import OpenModel, open_model, shift_for
from dcp.tokens import Encoding
from dcp.trace import ALIVE, FORMAT, Trace

__all__ = ["Counters", "Recorder", "record"]

Truncate = Literal["left", "right"]
# "Now" in tokens per second: the mean over this many steps.
_RECENT = 16


@dataclass(frozen=True)
class Counters:
    """A run at one moment. None where there is nothing to say yet.

    tokens, new_tokens       in all, and added by the model
    tokens_per_second_now    over the last 16 generated tokens, in the engine's own time
    tokens_per_second_mean   over all but the first one, which the prompt's pass had prepared
    time_to_first_token_s    from the start of reading to the first token drawn
    kv_bytes_live            keys and values that the model can still attend to
    kv_bytes_held            memory kept for them, gate keys and tables included
    kv_bytes_dense           keys and values of all tokens, had none been dropped
    process_bytes            resident memory of this process
    """

    tokens: int
    new_tokens: int
    tokens_per_second_now: float | None
    tokens_per_second_mean: float | None
    time_to_first_token_s: float | None
    kv_bytes_live: int
    kv_bytes_held: int
    kv_bytes_dense: int
    process_bytes: int


class Recorder:
    """A run in progress. Made by `Recorder.begin`; iterating makes it go on."""

    def __init__(
        self,
        model: OpenModel,
        prompt: Encoding,
        *,
        new_tokens: int,
        sampling: Sampling,
        gate_shift: float,
        impl: str,
        stop_at_eos: bool,
        truncated: Truncate | None,
        cancel: Callable[[], bool] | None,
    ) -> None:
        self._model, self._sampling, self._gate_shift = model, sampling, gate_shift
        self._prompt_tokens, self._truncated = len(prompt), truncated
        engine = Engine(model.loaded, impl)
        self._impl = engine.impl
        self._run = engine.run(
            [prompt.ids.tolist()],
            new_tokens=new_tokens,
            sampling=sampling,
            gate_shift=gate_shift,
            stop_ids=model.stop_ids if stop_at_eos else (),
            cancel=cancel,
        )
        self._text = model.tokenizer.stream(prompt)
        self._logprobs: list[float] = []
        self._seconds: list[float] = []
        self._memory = Memory(0, 0, 0, 0)
        self._queries = 0
        self._prompt_seconds = 0.0
        self._first_token: float | None = None

    @classmethod
    def begin(
        cls,
        text: str,
        *,
        model: str | Path | OpenModel | None = None,
        new_tokens: int = 64,
        seed: int = 0,
        temperature: float = 0.8,
        top_k: int = 0,
        top_p: float = 1.0,
        gate_shift: float = 0.0,
        sparsity: float | None = None,
        impl: str = "auto",
        dtype: str = "float32",
        truncate: Truncate | None = None,
        stop_at_eos: bool = False,
        cancel: Callable[[], bool] | None = None,
    ) -> Recorder:
        """Check the request, open the model and stand ready. The parameters are those of `record`.

        ``cancel`` is asked between steps; True ends the run, and the trace says so.
        """
        sampling = Sampling(temperature, top_k, top_p, seed)
        if not text.strip():
            raise RequestError("there is no text: give at least one word")
        if new_tokens < 0:
            raise RequestError(f"the number of new tokens must be 0 or more, not {new_tokens}")
        if truncate not in (None, "left", "right"):
            raise RequestError(f"truncate must be left or right, not {truncate!r}")
        if not np.isfinite(gate_shift):
            raise RequestError(f"the gate shift must be a finite number, not {gate_shift}")
        opened = model if isinstance(model, OpenModel) else open_model(model, dtype)
        if sparsity is not None:
            if gate_shift:
                raise RequestError("give a gate shift or a sparsity, not both")
            gate_shift = shift_for(opened.info.calibration, sparsity)
        prompt = opened.tokenizer.encode(text)
        fitting = _fit(prompt, opened.info.context, new_tokens, truncate)
        return cls(
            opened,
            fitting,
            new_tokens=new_tokens,
            sampling=sampling,
            gate_shift=gate_shift,
            impl=impl,
            stop_at_eos=stop_at_eos,
            truncated=None if fitting is prompt else truncate,
            cancel=cancel,
        )

    def __iter__(self) -> Iterator[Step]:
        """The engine's steps, each folded in before it is handed on."""
        start = time.perf_counter()
        for step in self._run:
            row = step.rows[0]
            self._logprobs += row.logprobs.tolist()
            self._memory, self._queries = row.memory, row.queries
            if step.phase == "prompt":
                self._prompt_seconds += step.seconds
            else:
                self._text.append(row.tokens.tolist())
                self._seconds.append(step.seconds)
                if self._first_token is None:
                    self._first_token = time.perf_counter() - start
            yield step

    def trace(self) -> Trace:
        """What has happened so far. Call it between steps, or when the run is over.

        Before the prompt is read to its end, the tokens still to come are in the trace, unread.
        """
        ids = self._text.ids
        known, smallest = self._run.lives(0)
        layers = self._model.info.layers
        death = np.full((layers, len(ids)), ALIVE, np.int32)
        margin = np.full((layers, len(ids)), np.nan, np.float32)
        death[:, : known.shape[1]], margin[:, : known.shape[1]] = known, smallest
        logprob = np.full(len(ids), np.nan, np.float32)
        # A log-softmax in float32 may round a probability of one to a hair above zero.
        logprob[: len(self._logprobs)] = np.minimum(self._logprobs, 0)
        seconds = np.full(len(ids), np.nan, np.float32)
        seconds[self._prompt_tokens :] = self._seconds
        return Trace(
            token_ids=ids,
            offsets=self._text.offsets,
            death=death,
            margin=margin,
            logprob=logprob,
            step_seconds=seconds,
            meta=self._meta(),
        )

    def counters(self) -> Counters:
        """Speed and memory at this moment."""
        recent = self._seconds[1:][-_RECENT:]
        return Counters(
            tokens=len(self._text),
            new_tokens=len(self._seconds),
            tokens_per_second_now=len(recent) / sum(recent) if recent else None,
            tokens_per_second_mean=self._tokens_per_second(),
            time_to_first_token_s=self._first_token,
            kv_bytes_live=self._memory.live,
            kv_bytes_held=self._memory.held,
            kv_bytes_dense=self._memory.dense,
            process_bytes=int(psutil.Process().memory_info().rss),
        )

    def _tokens_per_second(self) -> float | None:
        if len(self._seconds) > 1:
            return (len(self._seconds) - 1) / sum(self._seconds[1:])
        return 1 / self._first_token if self._first_token else None

    def _meta(self) -> dict[str, Any]:
        loaded, info = self._model.loaded, self._model.info
        entry = 2 * loaded.config.kv_heads * loaded.config.head_dim * loaded.dtype.itemsize
        gate_key = 4 * loaded.gates.interaction if loaded.gates else 0
        return {
            "format": FORMAT,
            "text": self._text.text,
            "prompt_tokens": self._prompt_tokens,
            "n_queries": self._queries,
            "model": info.name,
            "weights_sha256": loaded.weights_sha256,
            "gate_shift": float(self._gate_shift),
            "seed": self._sampling.seed,
            "sampling": {
                "temperature": self._sampling.temperature,
                "top_k": self._sampling.top_k,
                "top_p": self._sampling.top_p,
            },
            "dtype": self._model.dtype,
            "device": "cpu",
            "impl": self._impl,
            "versions": {
                "dcp": __version__,
                "python": platform.python_version(),
                "torch": str(torch.__version__),
                "tokenizers": tokenizers.__version__,
                "numpy": np.__version__,
            },
            "memory": {
                "kv_bytes_live": self._memory.live,
                "kv_bytes_held": self._memory.held,
                "kv_bytes_peak": self._memory.peak,
                "kv_bytes_dense": self._memory.dense,
                "row_bytes": entry + gate_key,
                "kv_bytes_per_entry": entry,
            },
            "context": info.context,
            "threads": torch.get_num_threads(),
            "offsets": "code points",
            "truncated": self._truncated,
            "interrupted": self._run.interrupted,
            "prompt_seconds": self._prompt_seconds,
            "time_to_first_token_s": self._first_token,
            "tokens_per_second": self._tokens_per_second(),
        }


def record(
    text: str,
    *,
    model: str | Path | OpenModel | None = None,
    new_tokens: int = 64,
    seed: int = 0,
    temperature: float = 0.8,
    top_k: int = 0,
    top_p: float = 1.0,
    gate_shift: float = 0.0,
    sparsity: float | None = None,
    impl: str = "auto",
    dtype: str = "float32",
    truncate: Truncate | None = None,
    stop_at_eos: bool = False,
) -> Trace:
    """Run a pruned model on ``text`` and return what each layer dropped, when.

    model        a bundled name, a checkpoint folder, a Hub id or an open model (default: bundled)
    new_tokens   how many tokens to add, exactly; 0 only scores the text
    seed, temperature, top_k, top_p   how tokens are drawn; temperature 0 is greedy
    gate_shift   δ, added to every β: below 0 drops more, above 0 keeps more
    sparsity     in place of δ: the dropped share to aim at, by the model's calibration
    impl, dtype  implementation and weights' type: "auto", "float32"
    truncate     what to cut from a text that is too long: its "left" or "right" end
    stop_at_eos  end where the model draws its end-of-text token

    Raises RequestError, ModelError or DeviceError in one line.

    >>> record("The river rose", new_tokens=3).tokens        # doctest: +SKIP
    6
    """
    recorder = Recorder.begin(
        text,
        model=model,
        new_tokens=new_tokens,
        seed=seed,
        temperature=temperature,
        top_k=top_k,
        top_p=top_p,
        gate_shift=gate_shift,
        sparsity=sparsity,
        impl=impl,
        dtype=dtype,
        truncate=truncate,
        stop_at_eos=stop_at_eos,
    )
    for _ in recorder:
        pass
    return recorder.trace()


def _fit(prompt: Encoding, context: int, new_tokens: int, truncate: Truncate | None) -> Encoding:
    """``prompt`` if it and the new tokens fit into the context, else what truncation leaves."""
    room = context - new_tokens
    if room < 1:
        raise RequestError(
            f"{new_tokens} new tokens leave no room for text in a context of {context} tokens"
        )
    if len(prompt) <= room:
        return prompt
    if truncate is None:
        raise RequestError(
            f"the text is {len(prompt)} tokens, but with {new_tokens} new tokens the context of "
            f"{context} has room for {room}; shorten it, or cut an end off (--truncate left or right)"
        )
    return prompt.truncate(room, "last" if truncate == "left" else "first")

"""Text in, `Trace` out: opens a model, runs the engine, folds its steps.

    recorder = Recorder.begin(TextRequest("The river rose", new_tokens=20))
    for step in recorder:
        show(recorder.trace())          # valid at any moment between steps

`record` is that without the showing. Knows text, models and the engine; no files, no screens.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Literal

import numpy as np

from dcp.deaths import ALIVE
from dcp.engine.engine import Engine, Step
from dcp.errors import ModelError
from dcp.model.dial import shift_at, shift_for_budget
from dcp.model.registry import OpenModel, open_model
from dcp.progress import Cancel
from dcp.runs.meta import meta_of_recording
from dcp.runs.meter import Counters, Meter
from dcp.runs.request import TextRequest, Truncate
from dcp.text.encoding import Encoding
from dcp.trace import Trace

__all__ = ["Recorder", "record"]


class Recorder:
    """A run in progress. Made by `Recorder.begin`; iterating makes it go on."""

    def __init__(
        self,
        model: OpenModel,
        request: TextRequest,
        prompt: Encoding,
        *,
        gate_shift: float,
        instruction: Sequence[int],
        truncated: Truncate | None,
        cancel: Cancel | None,
    ) -> None:
        self._model, self._sampling, self._gate_shift = model, request.sampling, gate_shift
        self._prompt_tokens, self._truncated = len(prompt), truncated
        self._eviction = request.eviction(len(prompt) + request.new_tokens, instruction)
        # A policy is carried out on the host: where the choice is free it is made there.
        ruled = None if request.shifted else self._eviction
        here = "cpu" if ruled is not None and request.impl == "auto" else request.impl
        self._engine = Engine(model.loaded, here)
        self._run = self._engine.run(
            [prompt.ids.tolist()],
            new_tokens=request.new_tokens,
            sampling=request.sampling,
            gate_shift=gate_shift,
            stop_ids=model.stop_ids if request.stop_at_eos else (),
            eviction=ruled,
            cancel=cancel,
            kv_dtype=request.kv_dtype,
        )
        self._text = model.tokenizer.stream(prompt)
        self._logprobs: list[float] = []
        self._meter = Meter()

    @classmethod
    def begin(cls, request: TextRequest, cancel: Cancel | None = None) -> Recorder:
        """Open the model and stand ready. Raises RequestError, ModelError or DeviceError.

        ``cancel`` is asked between steps; True ends the run, and the trace says so.
        """
        model, gate_shift = request.model, request.gate_shift
        gated = request.policy == "gates"
        opened = model
        if not isinstance(opened, OpenModel):
            opened = open_model(opened, request.dtype, gates=gated)
        if gated and opened.loaded.gates is None:
            raise ModelError(
                f"{opened.info.name} was opened without gates: choose a policy that needs none",
                remedy="policy",
            )
        heard = request.instruction
        if request.vocabulary == "seen":
            from dcp.model.vocabulary import seen

            opened = seen(opened, [request.text, heard])
        instruction = opened.tokenizer.encode(heard).ids.tolist() if heard else []
        context, extra = opened.info.context, len(instruction)
        prompt, room = opened.tokenizer.encode(request.text), request.room(context, extra)
        request.check_length(len(prompt), context, extra)
        fits = len(prompt) <= room
        if not fits:
            prompt = prompt.truncate(room, "last" if request.truncate == "left" else "first")
        read = len(prompt) + max(0, request.new_tokens - 1)
        if request.sparsity is not None and gated:
            gate_shift = shift_at(opened.info, request.sparsity, read)
        elif request.shifted and request.budget is not None:
            gate_shift = shift_for_budget(opened.info, request.budget, read)
        return cls(
            opened,
            request,
            prompt,
            gate_shift=gate_shift,
            instruction=instruction,
            truncated=None if fits else request.truncate,
            cancel=cancel,
        )

    @property
    def model(self) -> OpenModel:
        """The model that runs."""
        return self._model

    def __iter__(self) -> Iterator[Step]:
        """The engine's steps, each folded in before it is handed on."""
        self._meter.start()
        for step in self._run:
            row = step.rows[0]
            self._meter.count(step)
            self._logprobs += row.logprobs.tolist()
            if step.phase == "generate":
                self._text.append(row.tokens.tolist())
            yield step

    def finish(self) -> Trace:
        """Go on to the end, and the trace of it all."""
        for _ in self:
            pass
        return self.trace()

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
        seconds[self._prompt_tokens :] = self._meter.seconds
        return Trace(
            token_ids=ids,
            offsets=self._text.offsets,
            death=death,
            margin=margin,
            logprob=logprob,
            step_seconds=seconds,
            meta=meta_of_recording(
                self._model,
                self._engine,
                self._meter,
                text=self._text.text,
                prompt_tokens=self._prompt_tokens,
                sampling=self._sampling,
                gate_shift=self._gate_shift,
                request=self._run.request,
                eviction=self._eviction,
                truncated=self._truncated,
                interrupted=self._run.interrupted,
            ),
        )

    def counters(self) -> Counters:
        """Speed and memory at this moment."""
        return self._meter.counters(len(self._text))


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
    policy: str = "gates",
    budget: int | None = None,
    policy_settings: Mapping[str, str | float | int] | None = None,
    vocabulary: Literal["all", "seen"] = "all",
    kv_dtype: str | None = None,
) -> Trace:
    """Run a pruned model on ``text`` and return what each layer dropped, when.

    model        a bundled name, a checkpoint folder, a Hub id or an open model (default: bundled)
    new_tokens   how many tokens to add, exactly; 0 only scores the text
    seed, temperature, top_k, top_p   how tokens are drawn; temperature 0 is greedy
    gate_shift   δ, added to every β: below 0 drops more, above 0 keeps more
    sparsity     in place of δ: the dropped share to aim at (mean over steps), by what the model
                 dropped of validation text at the length of the text and its new tokens
    impl, dtype  implementation and weights' type: "auto", "float32"
    truncate     what to cut from a text that is too long: its "left" or "right" end
    stop_at_eos  end where the model draws its end-of-text token
    policy       who drops: the model's own "gates", or a rule of `dcp.policies.registry` ("window",
                 "sink", "h2o", "tova", "snapkv", "keynorm", "citrus", …), on any model;
                 "citrus-shared" and "citrus-individual" keep what an instruction asks for, given as
                 policy_settings={"instruction": "Who opened the museum?"}
    budget       entries that a layer may hold after each step, the query's own included; with the
                 gates the smallest margins go too, or with policy_settings={"by": "shift"} their
                 δ is that of such a budget by the calibration. ``policy_settings``: the knobs
    vocabulary   "seen": only the rows of embedding and head that ``text`` uses take part; no other
                 token can be drawn, and log-probs are of a softmax over those rows
    kv_dtype     how keys and values are kept: "float32", "float16", "bfloat16" or "int8" (8 bits
                 and a step for each head); by default as the model makes them. The gates read their
                 own keys in float32 all the same

    Raises RequestError, ModelError or DeviceError in one line.

    >>> run = dcp.record("The museum opened in 1901.", model="dcp-mini", new_tokens=3, sparsity=0.8)
    >>> run.tokens - run.prompt_tokens
    3
    """
    request = TextRequest(
        text=text,
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
        policy=policy,
        budget=budget,
        policy_settings=policy_settings,
        vocabulary=vocabulary,
        kv_dtype=kv_dtype,
    )
    return Recorder.begin(request).finish()

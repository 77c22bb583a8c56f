"""What a run says of itself, as a trace keeps it: the one place where a `Meta` is made.

Knows models, engines and meters; no trace.
"""

from __future__ import annotations

import dataclasses
import platform
from typing import Literal

import numpy as np
import tokenizers
import torch

from dcp import __version__
from dcp.engine.engine import Engine
from dcp.engine.request import Memory, Request
from dcp.kernels.row_bytes import entry_bytes, gate_key_bytes
from dcp.model.config import Sampling
from dcp.model.registry import OpenModel
from dcp.policies.rule import Eviction
from dcp.runs.machine import machine
from dcp.runs.meter import Meter
from dcp.trace import meta as kept

__all__ = ["meta_of_recording", "meta_of_replay"]


def meta_of_recording(
    model: OpenModel,
    engine: Engine,
    meter: Meter,
    *,
    text: str,
    prompt_tokens: int,
    sampling: Sampling,
    gate_shift: float,
    request: Request,
    eviction: Eviction | None,
    truncated: Literal["left", "right"] | None,
    interrupted: bool,
) -> kept.Meta:
    """Of a run that read ``text`` and drew its continuation."""
    return kept.Meta(
        text=text,
        prompt_tokens=prompt_tokens,
        n_queries=meter.queries,
        model=_name(model),
        weights_sha256=model.loaded.weights_sha256,
        gate_shift=float(gate_shift),
        seed=sampling.seed,
        sampling=kept.SampledWith(sampling.temperature, sampling.top_k, sampling.top_p),
        dtype=model.dtype,
        device=engine.device.type,
        impl=engine.impl,
        versions={
            "dcp": __version__,
            "python": platform.python_version(),
            "torch": str(torch.__version__),
            "tokenizers": tokenizers.__version__,
            "numpy": np.__version__,
        },
        memory=_memory(
            model, request, meter.memory, eviction is None or eviction.policy == "gates"
        ),
        kv_dtype=_kept_as(model, request),
        context=model.info.context,
        threads=torch.get_num_threads(),
        machine=machine(engine.device),
        truncated=truncated,
        interrupted=interrupted,
        policy=None if eviction is None else eviction.policy,
        budget=None if eviction is None else eviction.budget,
        policy_settings=None if eviction is None else dict(eviction.settings),
        vocabulary=None if model.vocabulary is None else model.vocabulary.to_json(),
        prompt_seconds=meter.prompt_seconds,
        time_to_first_token_s=meter.time_to_first_token_s,
        tokens_per_second=meter.tokens_per_second(),
    )


def meta_of_replay(
    source: kept.Meta,
    model: OpenModel,
    engine: Engine,
    *,
    queries: int,
    memory: Memory,
    request: Request,
    gate_shift: float,
    prune: bool,
    eviction: Eviction | None = None,
) -> kept.Meta:
    """Of the tokens of ``source`` read again: nothing was drawn and nothing timed."""
    gated = prune and (eviction is None or eviction.policy == "gates")
    return dataclasses.replace(
        source,
        n_queries=queries,
        model=_name(model),
        weights_sha256=model.loaded.weights_sha256,
        gate_shift=float(gate_shift) if gated else 0.0,
        dtype=model.dtype,
        device=engine.device.type,
        impl=engine.impl,
        memory=_memory(model, request, memory, gated=gated),
        kv_dtype=_kept_as(model, request),
        context=model.info.context,
        interrupted=False,
        prompt_seconds=None,
        time_to_first_token_s=None,
        tokens_per_second=None,
        machine=None,
        policy=None if eviction is None else eviction.policy,
        budget=None if eviction is None else eviction.budget,
        policy_settings=None if eviction is None else dict(eviction.settings),
        vocabulary=None,
        control=None,
        control_seed=None,
        lost_attention_on_token_0=None,
        exit_threshold=None,
        replayed=kept.Replayed(
            model=source.model,
            weights_sha256=source.weights_sha256,
            gate_shift=source.gate_shift,
            gates="on" if gated else "off",
        ),
    )


def _name(model: OpenModel) -> str:
    """A folder may be called anything; the name in a trace is one printable line."""
    return "".join(c if c.isprintable() else "\ufffd" for c in model.info.name)[:1000]


def _kept_as(model: OpenModel, request: Request) -> str | None:
    """The type of cache rows, where it is not that of the model's own keys."""
    if request.kv_dtype == model.loaded.dtype:
        return None
    return str(request.kv_dtype).removeprefix("torch.")


def _memory(model: OpenModel, request: Request, memory: Memory, gated: bool) -> kept.Memory:
    config, gates = model.loaded.config, model.loaded.gates
    entry = entry_bytes(config.kv_heads, config.head_dim, request.kv_dtype)
    gate_key = gate_key_bytes(gates.interaction) if gates and gated else 0
    return kept.Memory(
        live=memory.live,
        held=memory.held,
        peak=memory.peak,
        dense=memory.dense,
        row=entry + gate_key,
        entry=entry,
    )

"""What is measured: decode steps of `transformers`, of our dense path, and with tokens dropped.

Synthetic drops are scattered: of all tokens a share dies, each within 32 steps of its birth,
whatever its gate says; the gates are scored all the same. With 0 % the gates decide, shifted until
they keep everything, so that arm shows what pruning costs where it saves nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch

from dcp.bench.group import Member, Ours, Row, Timing, measure
from dcp.bench.harness import Arm
from dcp.deaths import ALIVE, ForcedDeaths
from dcp.engine.engine import Engine
from dcp.errors import RequestError
from dcp.model.config import Sampling
from dcp.model.registry import OpenModel
from dcp.model.weights import load
from dcp.progress import Progress, in_parts, silent
from dcp.runs.recorder import Recorder
from dcp.runs.request import TextRequest

__all__ = ["GREEDY", "decode_group", "keeping", "model_group", "scattered"]

RIVAL = "transformers SDPA float32"
_LAG = 32
GREEDY = Sampling(temperature=0)


def scattered(layers: int, tokens: int, share: float, seed: int = 0) -> ForcedDeaths:
    """Orders [layers, tokens]: ``share`` of the tokens die 1 to 32 steps after their birth."""
    rng = np.random.default_rng(seed)
    death = np.arange(tokens) + rng.integers(1, _LAG + 1, (layers, tokens))
    dies = rng.random((layers, tokens)) < share
    return ForcedDeaths(np.where(dies, death, ALIVE).astype(np.int32))


def keeping(share: float | None) -> float:
    """The gate shift of an arm: nothing dies by its gate where nothing is to be dropped."""
    return 1e3 if share == 0 else 0.0


def decode_group(
    folder: Path,
    *,
    batch: int,
    context: int,
    dropped: Sequence[float],
    weights: Sequence[str],
    timing: Timing,
    impl: str = "auto",
    rival: bool = True,
    progress: Progress = silent,
) -> list[Row]:
    """Decode steps up to ``context`` on a checkpoint, ``batch`` rows at once.

    For each kind of ``weights`` ("float32", "bfloat16", "int8", "int4"): a dense arm, and one for
    each share in ``dropped``. ``rival`` adds `transformers` in float32. Dense arms are measured
    against the first arm of all, pruned arms against their own dense arm.
    """
    start = context - timing.total - 1
    if start < 1:
        raise RequestError(f"context {context} is too short to measure {timing.total} steps")
    ids = np.random.default_rng(1).integers(0, 256, (batch, start)).tolist()
    members: list[Member] = []
    begin = in_parts(progress, rival + len(weights) * (1 + len(dropped)) + 1)
    if rival:
        begin(f"{RIVAL}: reading {batch} x {start} tokens")
        rival_arm = Arm(RIVAL, _rival(folder, ids))
        members.append(Member(rival_arm, "float32", "transformers", batch=batch))
    for kind in weights:
        model = load(folder, getattr(torch, kind))
        engine = Engine(model, impl)
        dense, first = f"dense {kind}", members[0].arm.name if members else None
        for share in (None, *dropped):
            name = dense if share is None else f"{share:.0%} dropped {kind}"
            begin(f"{name}: reading {batch} x {start} tokens")
            orders = [scattered(model.config.layers, context, share)] * batch if share else None
            run = engine.run(
                ids,
                new_tokens=timing.total + 1,
                sampling=GREEDY,
                deaths=orders,
                prune=share is not None,
                gate_shift=keeping(share),
                score_prompt=False,
            )
            ours = Ours(run, engine, gates=share is not None)
            against = first if share is None else dense
            members.append(Member(Arm(name, ours.step, against), kind, engine.impl, ours, batch))
    begin(f"batch {batch}, context {context}: {len(members)} arms take turns")
    return measure(members, folder.name, context, timing)


def model_group(
    model: OpenModel, text: str, timing: Timing, impl: str = "auto", progress: Progress = silent
) -> list[Row]:
    """A real model with its own gates at batch 1: dense, pruned, and pruned while recorded.

    ``text`` is shortened so that it and the steps fit into the context.
    """
    new = timing.total + 1
    if model.info.context <= new:
        raise RequestError(f"context {model.info.context} is too short to measure {new} steps")
    prompt = model.tokenizer.encode(text).truncate(model.info.context - new, "first")
    engine, ids = Engine(model.loaded, impl), [prompt.ids.tolist()]
    begin = in_parts(progress, 2)
    begin(f"{model.info.name}: reading {len(prompt)} tokens")
    dense = Ours(engine.run(ids, new_tokens=new, sampling=GREEDY, prune=False), engine, False)
    pruned = Ours(engine.run(ids, new_tokens=new, sampling=GREEDY), engine, True)
    request = TextRequest(prompt.text, model=model, new_tokens=new, temperature=0, impl=impl)
    recorder = Recorder.begin(request)
    steps = iter(recorder)
    while recorder.counters().new_tokens == 0:
        next(steps)
    members = [
        Member(Arm("dense", dense.step), model.dtype, engine.impl, dense),
        Member(Arm("own gates", pruned.step, "dense"), model.dtype, engine.impl, pruned),
        Member(
            Arm("own gates, recorded", lambda: next(steps), "own gates"), model.dtype, engine.impl
        ),
    ]
    begin(f"{model.info.name}: {len(members)} arms take turns")
    return measure(members, model.info.name, len(prompt) + new, timing)


def _rival(folder: Path, ids: Sequence[Sequence[int]]) -> Callable[[], None]:
    """A greedy decode step of ``transformers`` with SDPA and its own cache, the prompt read."""
    from transformers import AutoModelForCausalLM, DynamicCache
    from transformers.utils.logging import disable_progress_bar

    disable_progress_bar()
    model = AutoModelForCausalLM.from_pretrained(
        folder, dtype=torch.float32, attn_implementation="sdpa"
    ).eval()
    cache = DynamicCache(config=model.config)
    newest = torch.tensor(ids)

    @torch.inference_mode()
    def step() -> None:
        nonlocal newest
        out = model(newest, past_key_values=cache, use_cache=True, logits_to_keep=1)
        newest = out.logits[:, -1].argmax(dim=-1, keepdim=True)

    step()
    return step

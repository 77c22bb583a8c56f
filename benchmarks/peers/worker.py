"""One arm of `benchmarks.peers.run`: a model in a process of its own that decodes when told to.

    python worker.py '{"kind": "ours", "model": …, "threads": 1, …}'

Reads lines of JSON from stdin, answers each with one on stdout: first ``{"prompt": [ids]}``, then
``{"steps": n}`` as often as wanted -> ``{"ms", "cpu_ms"}`` a token. Every kind decodes greedily at
batch 1. Each imports only what it measures, so that it runs in any environment that has that.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from typing import Any

Steps = Callable[[int], float]
"""Decodes so many tokens and says how many seconds that took."""


def ours(asked: dict[str, Any], prompt: list[int]) -> Steps:
    """dcp on a checkpoint folder; ``gates``: "none", "kept" (scored, nothing dies), "own"."""
    import numpy as np
    import torch

    from dcp.deaths import ALIVE, ForcedDeaths
    from dcp.engine.engine import Engine
    from dcp.model.config import Sampling
    from dcp.model.weights import load

    torch.set_num_threads(asked["threads"])
    model = load(asked["model"], getattr(torch, asked["weights"]))
    most = model.config.context - len(prompt)
    kept = ForcedDeaths(np.full((model.config.layers, model.config.context), ALIVE))
    run = Engine(model, asked["impl"]).run(
        [prompt],
        new_tokens=min(most, asked["most"]),
        sampling=Sampling(temperature=0),
        prune=asked["gates"] != "none",
        deaths=[kept if asked["gates"] == "kept" else None],
        score_prompt=False,
    )
    while next(run).phase == "prompt":
        pass

    def steps(count: int) -> float:
        start = time.perf_counter()
        for _ in range(count):
            next(run)
        return time.perf_counter() - start

    return steps


def transformers(asked: dict[str, Any], prompt: list[int]) -> Steps:
    """`transformers` in float32 with SDPA and its DynamicCache."""
    import torch
    from transformers import AutoModelForCausalLM, DynamicCache

    torch.set_num_threads(asked["threads"])
    model = AutoModelForCausalLM.from_pretrained(
        asked["model"], dtype=torch.float32, attn_implementation="sdpa"
    ).eval()
    cache = DynamicCache(config=model.config)

    @torch.inference_mode()
    def read(ids: torch.Tensor) -> torch.Tensor:
        out = model(ids, past_key_values=cache, use_cache=True, logits_to_keep=1)
        newest: torch.Tensor = out.logits[:, -1].argmax(dim=-1, keepdim=True)
        return newest

    newest = read(torch.tensor([prompt]))

    def steps(count: int) -> float:
        nonlocal newest
        start = time.perf_counter()
        for _ in range(count):
            newest = read(newest)
        return time.perf_counter() - start

    return steps


def llama(asked: dict[str, Any], prompt: list[int]) -> Steps:
    """llama.cpp through xllamacpp on a GGUF; its own clock, the prompt kept in its cache."""
    import xllamacpp

    settings = xllamacpp.CommonParams()
    settings.model.path = asked["model"]
    settings.n_ctx = len(prompt) + asked["most"] + 64
    settings.n_parallel = 1
    settings.cpuparams.n_threads = settings.cpuparams_batch.n_threads = asked["threads"]
    server = xllamacpp.Server(settings)

    def steps(count: int) -> float:
        answer = server.handle_completions(
            {"prompt": prompt, "max_tokens": count, "temperature": 0, "ignore_eos": True,
             "cache_prompt": True}
        )  # fmt: skip
        found = answer if isinstance(answer, dict) else json.loads(answer)
        assert found["timings"]["predicted_n"] == count
        return float(found["timings"]["predicted_ms"]) * 1e-3

    steps(1)
    return steps


def openvino(asked: dict[str, Any], prompt: list[int]) -> Steps:
    """openvino-genai's paged attention; ``share``: of the prompt that its cache eviction keeps."""
    import numpy as np
    import openvino as ov
    import openvino_genai as genai

    scheduler = genai.SchedulerConfig()
    scheduler.max_num_seqs, scheduler.cache_size, scheduler.enable_prefix_caching = 1, 2, False
    if asked["share"]:
        # In whole blocks of 32, and at least the first 32, the last 64 and one block between.
        kept = max(128, int(len(prompt) * asked["share"]) // 32 * 32)
        scheduler.use_cache_eviction = True
        scheduler.cache_eviction_config = genai.CacheEvictionConfig(
            32, 64, kept, genai.AggregationMode.NORM_SUM
        )
    settings = {"INFERENCE_NUM_THREADS": asked["threads"]}
    model = genai.ContinuousBatchingPipeline(asked["model"], scheduler, "CPU", settings)
    wanted = genai.GenerationConfig()
    wanted.max_new_tokens, wanted.ignore_eos, wanted.do_sample = asked["most"] + 1, True, False
    answer = model.add_request(0, ov.Tensor(np.array([prompt], dtype=np.int64)), wanted)

    def steps(count: int) -> float:
        start = time.perf_counter()
        for _ in range(count):
            model.step()
            # A step of the prompt gives no token.
            while not answer.can_read():
                model.step()
            answer.read()
        return time.perf_counter() - start

    steps(1)
    return steps


def onnxruntime(asked: dict[str, Any], prompt: list[int]) -> Steps:
    """onnxruntime through onnxruntime-genai."""
    import onnxruntime_genai as genai

    config = genai.Config(asked["model"])
    session = {"session_options": {"intra_op_num_threads": asked["threads"]}}
    config.overlay(json.dumps({"model": {"decoder": session}}))
    model = genai.Model(config)
    wanted = genai.GeneratorParams(model)
    longest = len(prompt) + asked["most"] + 2
    wanted.set_search_options(max_length=longest, min_length=longest, do_sample=False)
    writer = genai.Generator(model, wanted)
    writer.append_tokens(prompt)

    def steps(count: int) -> float:
        start = time.perf_counter()
        for _ in range(count):
            writer.generate_next_token()
        return time.perf_counter() - start

    steps(1)
    return steps


KINDS = {
    "ours": ours,
    "transformers": transformers,
    "llama": llama,
    "openvino": openvino,
    "onnxruntime": onnxruntime,
}


def main() -> None:
    asked = json.loads(sys.argv[1])
    # What libraries print goes to stderr: stdout carries the answers alone.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)

    def answer(said: dict[str, Any]) -> None:
        print(json.dumps(said), file=answers, flush=True)

    steps = KINDS[asked["kind"]](asked, json.loads(sys.stdin.readline())["prompt"])
    answer({"ready": True})
    for line in sys.stdin:
        count = json.loads(line)["steps"]
        cpu = time.process_time()
        seconds = steps(count)
        cpu = time.process_time() - cpu
        answer({"ms": seconds / count * 1e3, "cpu_ms": cpu / count * 1e3})


if __name__ == "__main__":
    main()

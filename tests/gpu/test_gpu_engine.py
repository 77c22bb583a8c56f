"""Whole runs on the card: the CPU's deaths and tokens, no waiting in a step, one graph."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from dcp.deaths import ALIVE
from dcp.engine import graph as engine_graph
from dcp.engine.engine import Engine
from dcp.engine.graph import AHEAD, DecodeGraph
from dcp.engine.request import Start
from dcp.errors import DcpError, DeviceError
from dcp.model.config import Sampling
from dcp.model.paged import PagedAttention
from dcp.model.registry import find
from dcp.model.weights import LoadedModel, load

PROMPTS = [[3 + 197 * i % 8000 for i in range(150)], [17, 4, 99], list(range(70, 105))]


def bundled() -> LoadedModel:
    try:
        return load(find("dcp-mini"))
    except DcpError:
        pytest.skip("no bundled model in this checkout")


def test_the_bundled_model_forgets_what_it_forgets_on_the_cpu() -> None:
    model = bundled()
    lives = []
    for impl in ("triton", "cpu"):
        run = Engine(model, impl).run(
            PROMPTS, new_tokens=40, sampling=Sampling(seed=3), chunk=64,
            continuations=lives[0][0] if lives else None,
        )  # fmt: skip
        tokens: list[list[int]] = [[] for _ in PROMPTS]
        for step in run:
            for part in step.rows:
                tokens[part.row] += part.tokens.tolist() if step.phase == "generate" else []
        lives.append((tokens, [run.lives(row) for row in range(len(PROMPTS))]))
    differ = total = 0
    for (death, margin), (death_too, _) in zip(lives[0][1], lives[1][1], strict=True):
        wrong = death != death_too
        # A near tie may fall either way, and what follows from it in later layers with it.
        differ, total = differ + int(wrong.sum()), total + death.size
        assert (death != ALIVE).any()
        assert not wrong[0][abs(margin[0]) > 1e-3].any()
    assert differ <= 0.002 * total


def prepared(steps: int, pages: int | None = None) -> DecodeGraph:
    model = bundled()
    engine = Engine(model, "triton")
    transformer, cuda = engine.model.transformer, torch.device("cuda")
    attention = PagedAttention(
        model.config, engine.kernels, torch.float32, cuda, [len(p) + steps for p in PROMPTS],
        interaction=model.gates.interaction, deaths=[None] * 3, pages=pages,
    )  # fmt: skip
    with torch.inference_mode():
        for row, prompt in enumerate(PROMPTS):
            attention.begin([(row, 0, len(prompt) - 1)])
            ids = torch.tensor([prompt[:-1]], device=cuda)
            positions = torch.arange(len(prompt) - 1, device=cuda)[None]
            transformer.hidden(ids, positions, attention)
    attention.make_room([steps] * 3)
    start = Start(
        tokens=[prompt[-1] for prompt in PROMPTS], positions=[len(p) - 1 for p in PROMPTS],
        wanted=[steps] * 3, continuations=[()] * 3, streams=range(3), stop_ids=(),
        sampling=Sampling(seed=3),
    )  # fmt: skip
    return DecodeGraph(transformer, attention, start)


def test_a_run_through_graphs_is_the_run_without_them(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows that stop, rows that end early, fewer lanes then: the same tokens and deaths."""
    ask = {"new_tokens": [40, 9, 23], "stop_ids": range(0, 8000, 97), "sampling": Sampling(seed=3)}
    told = []
    for warm_up in (2, 10_000):
        monkeypatch.setattr(engine_graph, "_WARM_UP", warm_up)
        run = Engine(bundled(), "triton").run(PROMPTS, **ask)
        tokens = [
            (part.row, part.tokens.tolist(), part.finished, part.drops.position.tolist())
            for step in run
            for part in step.rows
        ]
        told.append((tokens, [run.lives(row)[0].tolist() for row in range(3)]))
    assert told[0] == told[1]


def test_a_step_never_waits_for_the_device() -> None:
    graph = prepared(40)
    for _ in range(8):
        graph.launch()
        graph.read()
    torch.cuda.set_sync_debug_mode("error")
    try:
        for _ in range(AHEAD):
            graph.launch()
    finally:
        torch.cuda.set_sync_debug_mode("default")
    while graph.in_flight:
        assert graph.read().rows == [0, 1, 2]


def test_a_step_is_one_launch_of_a_graph_by_the_profiler() -> None:
    graph = prepared(40)
    for _ in range(8):
        graph.launch()
        graph.read()
    torch.cuda.synchronize()
    with torch.profiler.profile() as profile:
        for _ in range(AHEAD):
            graph.launch()
    calls = {e.key: e.count for e in profile.key_averages() if e.key.startswith("cuda")}
    assert calls["cudaGraphLaunch"] == AHEAD
    # The profiler itself waits once, when it ends.
    assert calls.get("cudaStreamSynchronize", 0) == calls.get("cudaEventSynchronize", 0) == 0
    assert "cudaLaunchKernel" not in calls


def test_a_full_pool_is_refused_and_nothing_is_harmed() -> None:
    with pytest.raises(DeviceError, match="pool for keys and values is full"):
        prepared(40, pages=32)


def test_every_architecture_runs(tiny_checkpoint: Callable[..., Path]) -> None:
    for architecture in ("gpt2", "qwen2", "qwen3", "mistral"):
        model = load(tiny_checkpoint(architecture))
        lives = []
        for impl in ("triton", "reference"):
            run = Engine(model, impl).run(
                [list(range(40, 77))], new_tokens=4, sampling=Sampling(seed=1), chunk=9
            )
            list(run)
            lives.append(run.lives(0)[0])
        assert (lives[0] == lives[1]).all(), architecture

"""Whole runs on the card: the CPU's deaths and tokens, no waiting in a step, one graph."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from dcp.config import Sampling
from dcp.engine import Engine
from dcp.engine_graph import DecodeGraph
from dcp.errors import DcpError, DeviceError
from dcp.model.paged import PagedAttention
from dcp.model.weights import LoadedModel, load
from dcp.models import find

ALIVE = 2**31 - 1
PROMPTS = [[3 + 197 * i % 8000 for i in range(150)], [17, 4, 99], list(range(70, 105))]


def bundled() -> LoadedModel:
    try:
        return load(find(None))
    except DcpError:
        pytest.skip("no bundled model in this checkout")


def test_the_bundled_model_forgets_what_it_forgets_on_the_cpu() -> None:
    model = bundled()
    lives = []
    for impl in ("triton", "cpu"):
        run = Engine(model, impl).run(
            PROMPTS, new_tokens=40, sampling=Sampling(seed=3), chunk=64,
            forced=lives[0][0] if lives else None,
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


def prepared(steps: int, pages: int | None = None) -> tuple[DecodeGraph, PagedAttention]:
    model = bundled()
    engine = Engine(model, "triton")
    transformer, cuda = engine.model.transformer, torch.device("cuda")
    attention = PagedAttention(
        model.config, engine.kernels, torch.float32, cuda, [len(p) + steps for p in PROMPTS],
        interaction=model.gates.interaction, forced=[None] * 3, pages=pages,
    )  # fmt: skip
    with torch.inference_mode():
        for row, prompt in enumerate(PROMPTS):
            attention.begin([(row, 0, len(prompt) - 1)])
            ids = torch.tensor([prompt[:-1]], device=cuda)
            positions = torch.arange(len(prompt) - 1, device=cuda)[None]
            transformer.hidden(ids, positions, attention)
    last = torch.tensor([prompt[-1] for prompt in PROMPTS], device=cuda)
    at = torch.tensor([len(prompt) - 1 for prompt in PROMPTS], device=cuda)
    betas = [float(block.beta) for block in transformer.blocks]
    return DecodeGraph(transformer, attention, last, at, Sampling(seed=3), steps, betas), attention


def test_the_graph_draws_what_the_engine_draws() -> None:
    graph, _ = prepared(24)
    graph.run(24)
    run = Engine(bundled(), "triton").run(PROMPTS, new_tokens=24, sampling=Sampling(seed=3))
    expected = [part.tokens[0] for step in run if step.phase == "generate" for part in step.rows]
    drawn = graph.drawn.flatten().tolist()
    assert sum(a == b for a, b in zip(drawn, expected, strict=True)) >= 0.97 * len(expected)


def test_a_step_never_waits_for_the_device() -> None:
    graph, attention = prepared(40)
    graph.run(8)
    attention.require(16)
    torch.cuda.set_sync_debug_mode("error")
    try:
        for _ in range(8):
            graph.step()
    finally:
        torch.cuda.set_sync_debug_mode("default")
    torch.cuda.synchronize()


def test_a_full_pool_is_refused_and_nothing_is_harmed() -> None:
    with pytest.raises(DeviceError, match="pool for keys and values is full"):
        prepared(40, pages=8)


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

"""Whole runs in the interpreter: ``triton`` and its paged pool say what ``reference`` says."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from dcp.config import Sampling
from dcp.engine import Engine
from dcp.engine_graph import DecodeGraph
from dcp.errors import DcpError
from dcp.forced import ForcedDeaths
from dcp.model.paged import PagedAttention
from dcp.model.weights import load
from dcp.models import find

ALIVE = 2**31 - 1


def compare(folder: Path, prompts: list[list[int]], **request) -> list:
    """Run both, hold them against each other, and give the deaths [L, T] of each row."""
    told = []
    for impl in ("triton", "reference"):
        run = Engine(load(folder), impl).run(
            prompts, sampling=Sampling(seed=3), new_tokens=3, **request
        )
        steps = [(part, step.phase) for step in run for part in step.rows]
        told.append((steps, [run.lives(row) for row in range(len(prompts))]))
    (steps, lives), (steps_too, lives_too) = told
    for (part, phase), (part_too, phase_too) in zip(steps, steps_too, strict=True):
        assert phase == phase_too
        assert part.tokens.tolist() == part_too.tokens.tolist()
        assert part.memory.live == part_too.memory.live
        assert part.memory.peak >= part.memory.held > part.memory.live
        assert drops(part) == drops(part_too)
        close(part.logprobs, part_too.logprobs)
    for (death, margin), (death_too, margin_too) in zip(lives, lives_too, strict=True):
        assert (death == death_too).all()
        close(margin, margin_too)
    return [death for death, _ in lives]


def drops(part) -> set[tuple[int, int, int]]:
    d = part.drops
    return set(zip(d.layer.tolist(), d.position.tolist(), d.step.tolist(), strict=True))


def close(found, wanted) -> None:
    torch.testing.assert_close(
        torch.from_numpy(found), torch.from_numpy(wanted), rtol=0, atol=1e-4, equal_nan=True
    )


def test_the_bundled_model_forgets_the_same() -> None:
    try:
        folder = find(None)
    except DcpError:
        pytest.skip("no bundled model in this checkout")
    ids = [3 + 197 * i % 8000 for i in range(21)]
    deaths = compare(folder, [ids], chunk=16)
    assert (deaths[0] != ALIVE).any()


@pytest.mark.parametrize("architecture", ["gpt2", "qwen3"])
def test_ragged_batches_and_any_chunk(tiny_checkpoint: Callable[..., Path], architecture) -> None:
    prompts = [list(range(40, 61)), [5], [9, 8, 200]]
    deaths = compare(tiny_checkpoint(architecture), prompts, chunk=8)
    assert (deaths[0] != ALIVE).any()


def test_orders_overrule_the_gates(tiny_checkpoint: Callable[..., Path]) -> None:
    orders = ForcedDeaths.none(3, 20).keep(2).drop(3, 7, layer=1).drop(11, 13)
    prompts = [list(range(60, 72)), list(range(9))]
    deaths = compare(tiny_checkpoint("llama"), prompts, deaths=[orders, None], chunk=8)
    assert (deaths[0][:, 2] == ALIVE).all()
    assert deaths[0][1, 3] == 7
    assert (deaths[0][:, 11] == 13).all()


def test_with_the_gates_off_nothing_dies(tiny_checkpoint: Callable[..., Path]) -> None:
    deaths = compare(tiny_checkpoint("llama"), [list(range(60, 72))], prune=False)
    assert (deaths[0] == ALIVE).all()


def test_a_step_that_needs_no_host_draws_the_same_tokens(
    tiny_checkpoint: Callable[..., Path],
) -> None:
    model = load(tiny_checkpoint("llama"))
    prompts = [list(range(40, 57)), list(range(9))]
    sampling = Sampling(seed=5, top_k=20)
    engine = Engine(model, "triton")
    run = engine.run(prompts, sampling=sampling, new_tokens=6)
    expected = [part.tokens[0] for step in run if step.phase == "generate" for part in step.rows]
    attention = PagedAttention(
        model.config, engine.kernels, torch.float32, torch.device("cpu"), [23, 15],
        interaction=model.gates.interaction, forced=[None, None],
    )  # fmt: skip
    with torch.inference_mode():
        for row, prompt in enumerate(prompts):
            attention.begin([(row, 0, len(prompt) - 1)])
            ids = torch.tensor([prompt[:-1]])
            model.transformer.hidden(ids, torch.arange(len(prompt) - 1)[None], attention)
    graph = DecodeGraph(
        model.transformer, attention, torch.tensor([prompt[-1] for prompt in prompts]),
        torch.tensor([len(prompt) - 1 for prompt in prompts]), sampling, 6,
        [float(block.beta) for block in model.transformer.blocks],
    )  # fmt: skip
    graph.run(2)
    graph.run(4)
    assert graph.drawn.flatten().tolist() == expected
    for row in (0, 1):
        drops = attention.take_drops(row)
        death, _ = run.lives(row)
        assert (death[drops.layer, drops.position] == drops.step).all()
        assert len(drops.step) == (death != ALIVE).sum()

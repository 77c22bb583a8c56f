"""Whole runs in the interpreter: ``triton`` and its paged pool say what ``reference`` says."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch

from dcp.deaths import ALIVE, ForcedDeaths
from dcp.engine.engine import Engine, Step
from dcp.engine.graph import AHEAD, DecodeGraph
from dcp.errors import DcpError, DeviceError, RequestError
from dcp.kernels.triton.store import Store
from dcp.model.config import Sampling
from dcp.model.paged import PagedAttention
from dcp.model.registry import find
from dcp.model.weights import load


def compare(folder: Path, prompts: list[list[int]], details: bool = False, **request) -> list:
    """Run both, hold them against each other, and give the deaths [L, T] of each row, or with
    ``details`` the parts of all steps of both."""
    told = []
    for impl in ("triton", "reference"):
        run = Engine(load(folder), impl).run(
            prompts, **{"sampling": Sampling(seed=3), "new_tokens": 3} | request
        )
        steps = [(part, step.phase) for step in run for part in step.rows]
        told.append((steps, [run.lives(row) for row in range(len(prompts))]))
    (steps, lives), (steps_too, lives_too) = told
    for (part, phase), (part_too, phase_too) in zip(steps, steps_too, strict=True):
        assert phase == phase_too
        assert (part.row, part.finished) == (part_too.row, part_too.finished)
        assert part.queries == part_too.queries
        assert part.tokens.tolist() == part_too.tokens.tolist()
        assert part.memory.live == part_too.memory.live
        assert part.memory.peak >= part.memory.held > part.memory.live
        assert drops(part) == drops(part_too)
        close(part.logprobs, part_too.logprobs)
    for (death, margin), (death_too, margin_too) in zip(lives, lives_too, strict=True):
        assert (death == death_too).all()
        close(margin, margin_too)
    if details:
        return [steps, steps_too]
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
        folder = find("dcp-mini")
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


def test_rows_that_stop_or_end_early_leave_the_others_alone(tiny_checkpoint) -> None:
    """Stop tokens, ragged lengths and given continuations, on the device: the host lags behind,
    and no row reads a token that the reference does not read."""
    folder = tiny_checkpoint("llama")
    prompts = [list(range(40, 47)), [5], [9, 8, 200]]
    ask = {
        "new_tokens": [4, 2, 5], "continuations": [[], [], [1, 2, 3]], "stop_ids": range(0, 256, 6),
        "streams": [4, 0, 9],
    }  # fmt: skip
    ended = set()
    for steps in compare(folder, prompts, details=True, **ask):
        ended |= {(part.row, part.finished) for part, _ in steps if part.finished}
    assert {row for row, _ in ended} == {0, 1, 2}
    assert {why for _, why in ended} == {"stop", "length"}


def test_a_cancelled_run_hands_out_what_was_under_way(tiny_checkpoint) -> None:
    model = load(tiny_checkpoint("llama"))
    asked = []
    run = Engine(model, "triton").run(
        [[5, 6, 7]], new_tokens=20, cancel=lambda: asked.append(0) or len(asked) > 4
    )
    tokens = [int(step.rows[0].tokens[0]) for step in run if step.phase == "generate"]
    assert run.interrupted
    assert 1 + AHEAD <= len(tokens) < 20
    whole = Engine(model, "triton").run([[5, 6, 7]], new_tokens=len(tokens))
    assert tokens == [int(s.rows[0].tokens[0]) for s in whole if s.phase == "generate"]
    for found, wanted in zip(run.lives(0), whole.lives(0), strict=True):
        close(found, wanted)


def test_the_pool_grows_until_its_budget_and_then_refuses(tiny_checkpoint, monkeypatch) -> None:
    model = load(tiny_checkpoint("llama", drop=0.0))
    sizes = []
    grow = Store.grow
    monkeypatch.setattr(Store, "grow", lambda pool, n: sizes.append(n) or grow(pool, n))
    ask = {"prompts": [list(range(40))], "new_tokens": 26, "chunk": 20, "sampling": Sampling(0)}
    free = list(Engine(model, "triton").run(**ask))
    assert sizes
    page = Engine(model, "triton").run(**ask)._cache.pool.page_bytes  # type: ignore[attr-defined]
    steps: list[Step] = []
    run = Engine(model, "triton", cache_bytes=2 * model.config.layers * page).run(**ask)
    with pytest.raises(DeviceError, match="pool for keys and values is full"):
        steps.extend(run)
    # Nothing was harmed before: the steps that fitted are those of the free run.
    assert [s.rows[0].tokens.tolist() for s in steps] == [
        s.rows[0].tokens.tolist() for s in free[: len(steps)]
    ]
    with pytest.raises(DeviceError, match="too small to begin with"):
        Engine(model, "triton", cache_bytes=page).run(**ask)
    with pytest.raises(RequestError, match="for impl triton"):
        Engine(model, "cpu", cache_bytes=page)


def test_a_pool_that_grows_before_it_was_asked_forgets_no_death(tiny_checkpoint) -> None:
    model = load(tiny_checkpoint("llama"))
    engine = Engine(model, "triton")
    prompt, cpu = list(range(40, 80)), torch.device("cpu")
    assert model.gates is not None
    found = []
    for more in ([0], [400]):
        attention = PagedAttention(
            model.config, engine.kernels, torch.float32, cpu, [len(prompt) + 400],
            interaction=model.gates.interaction, deaths=[None],
        )  # fmt: skip
        attention.begin([(0, 0, len(prompt))])
        with torch.inference_mode():
            engine.model.transformer.hidden(
                torch.tensor([prompt]), torch.arange(len(prompt))[None], attention
            )
        assert attention.make_room(more) == (more != [0])
        drops = attention.take_drops(0)
        found.append((drops.layer.tolist(), drops.position.tolist(), drops.step.tolist()))
    assert found[0] == found[1]
    assert found[0][0]


def test_rows_in_fewer_bits_are_refused_in_a_line(tiny_checkpoint) -> None:
    engine = Engine(load(tiny_checkpoint("llama")), "triton")
    with pytest.raises(RequestError, match="leave kv_dtype out or use impl cpu") as refused:
        engine.run([[5, 6, 7]], new_tokens=2, kv_dtype="int8")
    assert "\n" not in str(refused.value)
    assert len(list(engine.run([[5, 6, 7]], new_tokens=2, kv_dtype="float32"))) == 3


class FakeGraph:
    """Runs again what was captured; counts how often."""

    def __init__(self) -> None:
        self.replays = 0

    def replay(self) -> None:
        self.replays += 1
        self.step()  # type: ignore[attr-defined]


def test_steps_through_captured_graphs_are_the_same_steps(tiny_checkpoint, monkeypatch) -> None:
    """The road that only a GPU takes, with its graph and events replaced by stand-ins."""
    graphs: list[FakeGraph] = []
    capturing: list[FakeGraph] = []
    plain = DecodeGraph._step

    @contextmanager
    def capture(graph: FakeGraph, pool: object) -> Iterator[None]:
        capturing.append(graph)
        graphs.append(graph)
        yield
        capturing.pop()

    def step(self: DecodeGraph, lanes: object) -> None:
        if capturing:
            capturing[-1].step = lambda: plain(self, lanes)  # type: ignore[attr-defined]
        else:
            plain(self, lanes)

    class FakeEvent:
        def record(self) -> None: ...
        def synchronize(self) -> None: ...
        def elapsed_time(self, other: object) -> float:
            return 1000.0

    made = DecodeGraph.__init__

    def on_gpu(self: DecodeGraph, *arguments: object) -> None:
        made(self, *arguments)
        self._on_gpu, self._pool = True, "pool"

    monkeypatch.setattr(DecodeGraph, "__init__", on_gpu)
    monkeypatch.setattr(DecodeGraph, "_step", step)
    monkeypatch.setattr("dcp.engine.graph._event", FakeEvent)
    monkeypatch.setattr(torch.cuda, "CUDAGraph", FakeGraph)
    monkeypatch.setattr(torch.cuda, "graph", capture)
    prompts = [[40, 41], [5]]
    for steps in compare(tiny_checkpoint("gpt2"), prompts, details=True, new_tokens=[9, 2]):
        assert len(steps) == 2 + 9 + 2
    # One graph for both rows, and one for the last.
    assert len(graphs) == 2
    assert all(graph.replays >= 1 for graph in graphs)

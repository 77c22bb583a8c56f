"""The pool and its settling kernel driven beside a Python list, wherever they run.

Every row carries its own name in its keys and values, so a row that was moved wrongly, lost or
handed to two owners shows.
"""

import math

import pytest
import torch
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from dcp.errors import DeviceError
from dcp.kernels.triton.common import INTERPRETED
from dcp.kernels.triton.pool import Pool, PoolShape

LAYERS, SEQUENCES, PAGE, PAGES = 2, 3, 4, 40
# One more: a step of all sequences has a lane to spare.
SHAPE = PoolShape(
    layers=LAYERS, sequences=SEQUENCES + 1, kv_heads=2, head_dim=5, interaction=3, most=90,
    pages=PAGES, page=PAGE,
)  # fmt: skip
DEVICE = torch.device("cpu" if INTERPRETED else "cuda")


def named(layer: int, sequence: int, position: int) -> torch.Tensor:
    return (
        torch.arange(10.0, device=DEVICE).view(2, 5)
        + 1000 * layer
        + 100_000 * sequence
        + 10 * position
    )


def ints(*values: int) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.int32, device=DEVICE)


class PoolMachine(RuleBasedStateMachine):
    """``model[l][b]`` is a dict position -> smallest logit: what must live."""

    def __init__(self) -> None:
        super().__init__()
        self.pool = Pool(SHAPE, torch.float32, DEVICE)
        self.pool.k.fill_(math.nan)
        self.pool.v.fill_(math.nan)
        self.live = [[{} for _ in range(SEQUENCES)] for _ in range(LAYERS)]
        self.next = [0] * SEQUENCES
        self.dead: set[tuple[int, int, int, int]] = set()

    def fits(self, tokens: list[int]) -> bool:
        """Whether the step may go: the pool's own refusal must say the same as counting."""
        counts, free = self.pool.state()
        more = torch.tensor([*tokens, 0])
        held = sum(-(-len(rows) // PAGE) for layer in self.live for rows in layer)
        then = sum(
            -(-(len(rows) + tokens[b]) // PAGE)
            for layer in self.live
            for b, rows in enumerate(layer)
        )
        if then > self.pool.shape.pages:
            with pytest.raises(DeviceError):
                self.pool.require(counts, free, more)
            return False
        assert free == self.pool.shape.pages - held
        self.pool.require(counts, free, more)
        return max(self.next[b] + tokens[b] for b in range(SEQUENCES)) <= SHAPE.most

    @rule(
        chosen=st.sets(st.integers(0, SEQUENCES - 1), min_size=1),
        seed=st.integers(0, 2**20),
        drop=st.sampled_from([0.0, 0.1, 0.5, 1.0]),
    )
    def decode(self, chosen, seed, drop) -> None:
        rows = sorted(chosen)
        if not self.fits([int(b in chosen) for b in range(SEQUENCES)]):
            return
        g = torch.Generator().manual_seed(seed)
        for layer in range(LAYERS):
            steps = [self.next[b] for b in rows]
            gates = torch.randn(len(rows), 3, generator=g).to(DEVICE)
            queries = torch.randn(len(rows), 3, generator=g).to(DEVICE)
            beta = self.threshold(layer, rows, queries, drop)
            kv = torch.stack([named(layer, b, t) for b, t in zip(rows, steps, strict=True)])
            self.remember(layer, rows, steps, queries, beta)
            # Nobody reads in the last lane: what comes with it must go nowhere.
            given = [torch.cat((x, torch.full_like(x[:1], math.nan))) for x in (kv, queries, gates)]
            out = self.pool.decode(
                layer, ints(*rows, -1), ints(*steps, 0), torch.zeros_like(given[0]), given[0],
                -given[0], given[1], given[2], beta, None,
            )  # fmt: skip
            assert bool((out[-1] == 0).all())
            for b, t, gate in zip(rows, steps, gates, strict=True):
                self.live[layer][b][t] = [gate, math.nan]
        for b in rows:
            self.next[b] += 1

    @rule(
        b=st.integers(0, SEQUENCES - 1),
        tokens=st.integers(2, 19),
        seed=st.integers(0, 2**20),
        beta=st.sampled_from([-1.0, 0.5, 1.5, 9.0]),
    )
    def extend(self, b, tokens, seed, beta) -> None:
        if not self.fits([tokens * (other == b) for other in range(SEQUENCES)]):
            return
        g = torch.Generator().manual_seed(seed)
        first = self.next[b]
        steps = torch.arange(first, first + tokens, dtype=torch.int32, device=DEVICE)
        for layer in range(LAYERS):
            gates = torch.randn(tokens, 3, generator=g).to(DEVICE)
            queries = torch.randn(tokens, 3, generator=g).to(DEVICE)
            kv = torch.stack([named(layer, b, t) for t in steps.tolist()])
            self.pool.extend(
                layer, ints(b), b, first, steps, torch.zeros_like(kv), kv, -kv,
                queries, gates, beta, None,
            )  # fmt: skip
            for i in range(tokens):
                self.remember(layer, [b], [first + i], queries[i : i + 1], beta)
                self.live[layer][b][first + i] = [gates[i], math.nan]
        self.next[b] += tokens

    @rule(more=st.integers(1, 5))
    def grow(self, more) -> None:
        if self.pool.shape.pages < 2 * PAGES:
            self.pool.grow(self.pool.shape.pages + more)

    @rule(b=st.integers(0, SEQUENCES - 1))
    def release(self, b) -> None:
        self.pool.release(b)
        for layer in self.live:
            layer[b] = {}
        self.next[b] = 0

    def threshold(self, layer, rows, queries, drop) -> float:
        """A beta that drops about the share ``drop`` of the rows, with no logit near it."""
        z = sorted(
            float(gate @ query) / math.sqrt(3)
            for b, query in zip(rows, queries, strict=True)
            for gate, _ in self.live[layer][b].values()
        )
        if not z:
            return 0.0
        cut = round(drop * len(z))
        below = z[cut - 1] if cut else z[0] - 1
        above = z[cut] if cut < len(z) else z[-1] + 1
        return -(below + above) / 2

    def remember(self, layer, rows, steps, queries, beta) -> None:
        """What the queries must do to the list."""
        for b, t, query in zip(rows, steps, queries, strict=True):
            rows_of = self.live[layer][b]
            for position, entry in list(rows_of.items()):
                z = float(entry[0] @ query) / math.sqrt(3) + beta
                entry[1] = z if math.isnan(entry[1]) else min(entry[1], z)
                if z <= 0:
                    self.dead.add((layer, b, position, t))
                    del rows_of[position]

    @invariant()
    def the_pool_is_the_list(self) -> None:
        pool = self.pool
        owned: list[int] = []
        for layer in range(LAYERS):
            for b in range(SEQUENCES):
                rows = self.live[layer][b]
                count = int(pool.counts[layer, b])
                assert count == len(rows)
                n = torch.arange(count, device=DEVICE)
                owned += pool.table[layer, b, : -(-count // PAGE)].tolist()
                place = pool.table[layer, b][n // PAGE].long() * PAGE + n % PAGE
                positions = pool.positions[place].tolist()
                assert sorted(positions) == sorted(rows)
                if not rows:
                    continue
                expected = torch.stack([named(layer, b, p) for p in positions])
                assert torch.equal(pool.k[place], expected)
                assert torch.equal(pool.v[place], -expected)
                gates = torch.stack([rows[p][0] for p in positions])
                assert torch.equal(pool.k_int[place], gates)
                lowest = torch.tensor([rows[p][1] for p in positions], device=DEVICE)
                torch.testing.assert_close(
                    pool.margins[place], lowest, rtol=0, atol=1e-5, equal_nan=True
                )
        taken, given = pool.ends.tolist()
        free = [int(pool.ring[i % len(pool.ring)]) for i in range(taken, given)]
        assert sorted(owned + free) == list(range(pool.shape.pages))

    @invariant()
    def the_log_names_the_dead(self) -> None:
        died = self.pool.deaths(int(self.pool.logged))
        told = zip(*(column.tolist() for column in died[:4]), strict=True)
        assert set(told) == self.dead
        assert bool((died.margin <= 0).all())
        self.dead = set()

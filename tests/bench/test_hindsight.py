"""Hindsight: an entry's worth against taking it away, the cheapest death against all others."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from benchmarks.hindsight import cheapest_deaths, measure, squared, worths
from dcp.deaths import ALIVE
from dcp.evaluate.score import score
from dcp.evaluate.windows import Windows
from dcp.kernels.gates import Gates
from dcp.model.masked import MaskedAttend
from dcp.model.registry import open_model


def test_a_worth_is_the_change_when_the_entry_goes_to_first_order(tiny_checkpoint) -> None:
    """Against attention in which a little of one entry's weight is taken away."""
    model = open_model(tiny_checkpoint("llama")).loaded.transformer.double()
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    ids = torch.randint(0, model.config.vocab, (12,), generator=torch.Generator().manual_seed(1))
    found, logits = worths(model, ids, torch.Generator().manual_seed(2))
    drawn = torch.multinomial(logits.softmax(-1), 1, generator=torch.Generator().manual_seed(2))[
        :, 0
    ]

    def surprise(layer: int, step: int, token: int, part: float) -> float:
        def attend(at: int, q, k, v, gates: Gates | None):
            group = q.shape[2] // k.shape[2]
            q, k, v = (x[0].transpose(0, 1) for x in (q, k, v))
            k, v = k.repeat_interleave(group, 0), v.repeat_interleave(group, 0)
            scores = q @ k.transpose(1, 2) * q.shape[-1] ** -0.5
            scores = scores.masked_fill(torch.ones(12, 12, dtype=torch.bool).triu(1), -torch.inf)
            weights = scores.softmax(-1)
            if at == layer:
                # The output moves this part of the way to where it would be without the entry.
                less = weights.clone()
                less[:, step, token] = 0
                weights = weights + part * (less / less.sum(-1, keepdim=True) - weights)
            return (weights @ v).transpose(0, 1)[None]

        out = model(ids[None], torch.arange(12)[None], attend, gated=False)[0]
        return float(torch.nn.functional.cross_entropy(out, drawn, reduction="sum"))

    for layer, step, token in ((0, 5, 2), (1, 11, 0), (1, 7, 6)):
        slope = (surprise(layer, step, token, 1e-4) - surprise(layer, step, token, -1e-4)) / 2e-4
        assert float(found[layer, step, token]) == pytest.approx(slope, rel=1e-3, abs=1e-7)
    assert not found.triu().any()


def test_squares_are_the_mean_over_draws(tiny_checkpoint) -> None:
    model = open_model(tiny_checkpoint("llama")).loaded.transformer
    ids = torch.arange(3, 11)
    draw = torch.Generator().manual_seed(4)
    each = [worths(model, ids, draw)[0].square() for _ in range(3)]
    mean, _ = squared(model, ids, torch.Generator().manual_seed(4), 3)
    assert torch.allclose(mean, torch.stack(each).mean(0))
    assert not torch.allclose(each[0], each[1])


def test_no_death_is_cheaper() -> None:
    rng = torch.Generator().manual_seed(3)
    worth = (torch.rand(2, 9, 9, generator=rng) < 0.3) * torch.rand(2, 9, 9, generator=rng)
    price = 0.15
    deaths = cheapest_deaths(worth, price)
    for layer in range(2):
        assert deaths[layer, 0] == ALIVE
        for token in range(1, 9):
            costs = {
                last + 1: sum(
                    price - float(worth[layer, t, token]) for t in range(token + 1, last + 1)
                )
                for last in range(token, 9)
            }
            death = min(int(deaths[layer, token]), 9)
            assert costs[death] == pytest.approx(min(costs.values()), abs=1e-6)
    assert (cheapest_deaths(worth, 0.0)[:, 1:] >= deaths[:, 1:]).all()


def test_free_steps_lose_nothing_and_dear_ones_all(tiny_checkpoint) -> None:
    model = open_model(tiny_checkpoint("gpt2")).loaded
    ids = np.arange(32, dtype=np.int64).reshape(2, 16) % model.config.vocab
    windows = Windows(ids, np.ones_like(ids), np.arange(2))
    rows = measure(model, windows, [-50.0, 50.0], [0.0, 1e9])
    by = {(row.rule, row.setting): row for row in rows}
    assert by["gates", 50.0].kl == pytest.approx(0, abs=1e-6)
    assert by["gates", 50.0].sparsity == pytest.approx(0)
    dear, free = by["hindsight", 1e9], by["hindsight", 0.0]
    # Nothing but the first token is left, and it stays in all layers.
    assert dear.entries == pytest.approx(16 + 15)
    assert dear.kl > free.kl >= -1e-6
    assert dear.sparsity > free.sparsity >= 0
    assert dear.sparsity_at_end == pytest.approx(1 - 1 / 15)


def test_it_counts_as_the_evaluation_does(tiny_checkpoint) -> None:
    model = open_model(tiny_checkpoint("llama")).loaded
    ids = np.arange(48, dtype=np.int64).reshape(2, 24) * 7 % model.config.vocab
    windows = Windows(ids, np.ones_like(ids), np.arange(2))
    pruned = score(model, windows, lambda: MaskedAttend(-1.0))
    dense = score(model, windows, lambda: MaskedAttend(prune=False))
    (row,) = measure(model, windows, [-1.0], [])
    surprise = (pruned.nats - dense.nats).sum() / windows.scored
    assert row.ratio == pytest.approx(np.exp(surprise), abs=1e-6)
    dropped = 1 - (pruned.held[:, 1:] - 1) / np.arange(1, 24)
    assert 0 < dropped[:, -1].mean() < 1
    assert row.sparsity == pytest.approx(dropped.mean())
    assert row.sparsity_at_end == pytest.approx(dropped[:, -1].mean())


def test_hindsight_is_of_the_base_where_an_adapter_changes_it(tiny_checkpoint) -> None:
    """The gates read with their own weights; everything is measured against the base's."""
    base = open_model(tiny_checkpoint("llama", seed=5)).loaded
    tuned = replace(open_model(tiny_checkpoint("llama")).loaded, read_base=lambda: base)
    ids = np.arange(48, dtype=np.int64).reshape(2, 24) * 7 % base.config.vocab
    windows = Windows(ids, np.ones_like(ids), np.arange(2))
    of = {}
    for name, model in (("tuned", tuned), ("base", base)):
        rows = measure(model, windows, [50.0], [1e-3])
        of.update({(name, row.rule): row for row in rows})
    assert of["tuned", "hindsight"] == of["base", "hindsight"]
    assert of["base", "gates"].kl == pytest.approx(0, abs=1e-6)
    assert of["tuned", "gates"].kl > 1e-3

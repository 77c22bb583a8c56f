"""Evaluation against sums done by hand, and the invariants of its windows."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch

from dcp.errors import DataError, RequestError
from dcp.evaluate import Windows, evaluate, evaluate_policies, read_windows
from dcp.model.weights import LoadedModel, load
from dcp.tokens import Tokenizer
from dcp.train.data import pack_file
from dcp.train.loop import train
from dcp.train.settings import TrainSettings
from dcp.train.tokenizer import train_tokenizer

TINY = TrainSettings(
    layers=2, width=32, heads=2, kv_heads=1, ffn=48, context=48, interaction=4, length=32,
    batch=2, micro=2, steps=2, warmup=1, decay=0, precision="no",
)  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("evaluate")
    rng = np.random.default_rng(0)
    words = ["alpha", "beta", "gamma", "delta", "café", "ne'er", "12", "—", "and", "the"]
    text = "\n\n".join(" ".join(rng.choice(words, n)) for n in (90, 5, 60, 33))
    (folder / "text.txt").write_text(text)
    train_tokenizer([folder / "text.txt"], 280, folder)
    pack_file(folder / "text.txt", folder, folder / "shard.npy")
    shards = [folder / "shard.npy"]
    base = train(TINY, shards, folder, folder / "base")
    import dataclasses

    settings = dataclasses.replace(TINY, stage="prune", beta=0.2)
    train(settings, shards, folder, folder / "pruned", init=base)
    return folder


@pytest.fixture(scope="module")
def model(folder: Path) -> LoadedModel:
    return load(folder / "pruned" / "final")


@pytest.fixture(scope="module")
def windows(folder: Path) -> Windows:
    return read_windows(folder / "text.txt", Tokenizer.load(folder), 31)


def test_windows_are_pieces_of_single_documents(folder: Path, windows: Windows) -> None:
    tokenizer = Tokenizer.load(folder)
    documents = (folder / "text.txt").read_text().split("\n\n")
    texts = [tokenizer.decode(row) for row in windows.ids]
    assert all(sum(text in d for d in documents) >= 1 for text in texts)
    assert windows.scored == len(texts) * 30
    first = [len(tokenizer.token_bytes(int(row[0]))) for row in windows.ids]
    assert windows.bytes == sum(len(t.encode()) for t in texts) - sum(first)


def test_packed_windows_waste_no_tail(folder: Path, windows: Windows) -> None:
    packed = read_windows(folder / "text.txt", Tokenizer.load(folder), 31, packed=True)
    assert len(packed.ids) > len(windows.ids)


def test_perplexity_and_sparsity_equal_sums_by_hand(model: LoadedModel, windows: Windows) -> None:
    (result,) = evaluate(model, windows, [0.1], batch=3)
    nats, dropped, at_end = 0.0, [], []
    for ids in torch.from_numpy(windows.ids):
        deaths: list[torch.Tensor] = []

        def attend(layer, q, k, v, q_int, k_int, beta, deaths=deaths):  # type: ignore[no-untyped-def]
            length, heads = q.shape[1], q.shape[2]
            z = (q_int[0] @ k_int[0].T) / math.sqrt(q_int.shape[-1]) + beta + 0.1
            visible = torch.eye(length, dtype=torch.bool)
            for t in range(length):
                for j in range(t):
                    visible[t, j] = bool((z[j + 1 : t + 1, j] > 0).all())
            deaths.append(visible)
            k, v = k[0].repeat_interleave(heads, 1), v[0].repeat_interleave(heads, 1)
            scores = torch.einsum("thd,shd->hts", q[0], k) / math.sqrt(q.shape[-1])
            weights = scores.masked_fill(~visible, -math.inf).softmax(-1)
            return torch.einsum("hts,shd->thd", weights, v)[None]

        with torch.no_grad():
            logits = model.transformer(ids[None], torch.arange(len(ids))[None], attend)[0]
        nats -= float(logits[:-1].log_softmax(-1).gather(1, ids[1:, None]).sum())
        past = np.arange(1, len(ids))
        share = np.stack([1 - (v.sum(1).numpy()[1:] - 1) / past for v in deaths])
        dropped.append(share.mean())
        at_end.append(share[:, -1].mean())
    assert 0.02 < result.sparsity < 0.98
    assert result.ppl_pruned == pytest.approx(math.exp(nats / windows.scored), rel=1e-4)
    assert result.bits_per_byte_pruned == pytest.approx(nats / math.log(2) / windows.bytes, 1e-4)
    assert result.sparsity == pytest.approx(np.mean(dropped), abs=2e-3)
    assert result.sparsity_at_end == pytest.approx(np.mean(at_end), abs=5e-3)


def test_a_large_shift_keeps_all_and_costs_nothing(model: LoadedModel, windows: Windows) -> None:
    low, high = evaluate(model, windows, [-100.0, 100.0], model)
    assert high.sparsity == 0
    assert high.ppl_pruned == pytest.approx(high.ppl_gates_off, rel=1e-6)
    assert high.ppl_pruned == pytest.approx(high.ppl_dense_finetuned, rel=1e-6)
    assert low.sparsity == 1
    assert low.held_entries == 31


def test_a_policy_that_may_hold_everything_equals_the_dense_model(
    model: LoadedModel, windows: Windows
) -> None:
    (off,) = evaluate(model, windows, [100.0])
    for row in evaluate_policies(model, windows, 31 * 32 / 2):
        assert row.ppl == pytest.approx(off.ppl_gates_off, rel=1e-6)
    (tight,) = evaluate_policies(model, windows, 31 * 2.9, ["local"])
    assert 31 * 2.9 <= tight.held_entries < 31 * 4


def test_what_cannot_be_scored_is_refused(folder: Path, model: LoadedModel) -> None:
    tokenizer = Tokenizer.load(folder)
    with pytest.raises(DataError, match="no document of 400 tokens"):
        read_windows(folder / "text.txt", tokenizer, 400)
    with pytest.raises(RequestError, match="at least 2"):
        read_windows(folder / "text.txt", tokenizer, 1)
    long = read_windows(folder / "text.txt", tokenizer, 60)
    with pytest.raises(RequestError, match="longer than the model's 48"):
        evaluate(model, long)

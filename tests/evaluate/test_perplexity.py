"""Evaluation against sums done by hand, and the invariants of its windows."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from dcp.cli.main import main
from dcp.deaths import ALIVE
from dcp.errors import DataError, RequestError
from dcp.evaluate.beside import read_dense, score_beside
from dcp.evaluate.perplexity import Rival, Windows, evaluate, read_windows
from dcp.evaluate.rivals import best_of
from dcp.evaluate.score import Scored, held_per_step, ratio_interval, score
from dcp.model.masked import MaskedAttend
from dcp.model.weights import LoadedModel, load
from dcp.policies.windows import policy_deaths
from dcp.text.tokens import Tokenizer
from dcp.train.data import pack_file
from dcp.train.loop import train
from dcp.train.settings import TrainSettings
from dcp.train.tokenizer import train_tokenizer

TINY = TrainSettings().change(
    layers=2, width=32, heads=2, kv_heads=1, ffn=48, context=48, interaction=4, length=32,
    batch=2, micro=2, steps=2, warmup=1, decay=0, precision="no",
)  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("evaluate")
    rng = np.random.default_rng(0)
    words = ["alpha", "beta", "gamma", "delta", "café", "ne'er", "12", "—", "and", "the"]
    text = "\n\n".join(" ".join(rng.choice(words, n)) for n in (90, 5, 60, 33, *[30] * 8))
    (folder / "text.txt").write_text(text)
    train_tokenizer([folder / "text.txt"], 280, folder)
    pack_file(folder / "text.txt", folder, folder / "shard.npy")
    shards = [folder / "shard.npy"]
    base = train(TINY, shards, folder, folder / "base")

    settings = TINY.change(stage="prune", beta=0.2)
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


def test_shorter_windows_are_the_same_text_cut_again(windows: Windows) -> None:
    short = windows.cut(10)
    assert short.ids.shape == (3 * len(windows.ids), 10)
    assert np.array_equal(short.ids.reshape(-1, 30), windows.ids[:, :30])
    assert np.array_equal(short.documents, np.repeat(windows.documents, 3))
    assert short.bytes == windows.token_bytes[:, :30].reshape(-1, 10)[:, 1:].sum()
    assert np.array_equal(windows.cut(31).ids, windows.ids)
    for wrong in (0, 1, 32):
        with pytest.raises(RequestError, match="cannot be cut"):
            windows.cut(wrong)


def test_joined_windows_keep_their_documents_apart(windows: Windows) -> None:
    both = Windows.join([windows, windows.cut(31)])
    n = len(windows.ids)
    assert both.bytes == 2 * windows.bytes
    assert len(np.unique(both.documents)) == 2 * len(np.unique(windows.documents))
    assert np.array_equal(both.documents[:n], windows.documents)


def test_a_document_gives_all_its_windows_one_number(folder: Path, windows: Windows) -> None:
    tokenizer = Tokenizer.load(folder)
    documents = (folder / "text.txt").read_text().split("\n\n")
    for row, number in zip(windows.ids, windows.documents, strict=True):
        assert tokenizer.decode(row) in documents[number]


@given(st.integers(1, 40), st.integers(0, 2**31))
def test_entries_held_are_the_visible_tokens_of_each_step(tokens: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    death = np.arange(tokens) + rng.integers(1, 2 * tokens, (2, 3, tokens))
    death = np.where(death < tokens, death, ALIVE).astype(np.int32)
    steps = np.arange(tokens)
    visible = (steps[:, None] >= steps) & (steps[:, None] < death[:, :, None, :])
    assert np.array_equal(held_per_step(torch.from_numpy(death)).numpy(), visible.sum(-1))


def made(nats: list[float], windows: Windows) -> Scored:
    return Scored(np.asarray(nats), np.ones((1, windows.context)))


def blocks(documents: list[int], context: int = 5) -> Windows:
    shape = len(documents), context
    return Windows(np.zeros(shape, int), np.ones(shape, int), np.asarray(documents))


def test_equal_gains_and_fewer_than_ten_documents_have_no_interval() -> None:
    below = np.random.default_rng(4).uniform(1, 5, 20)
    gains = 0.4 + np.linspace(-0.2, 0.2, 20)

    def interval(gains: npt.ArrayLike, documents: list[int]) -> tuple[float, float]:
        windows = blocks(documents)
        above = made(list(below + np.asarray(gains)), windows)
        return ratio_interval(above, made(list(below), windows), windows)

    low, high = interval(gains, [i // 2 for i in range(20)])
    assert low < math.exp(0.1) < high  # 0.1 nats a token in the mean
    for equal_or_few in (
        interval(0.4, [i // 2 for i in range(20)]),
        interval(gains, [i % 9 for i in range(20)]),
        interval(gains, [2] * 20),
    ):
        assert all(math.isnan(end) for end in equal_or_few)


def test_an_interval_resamples_whole_documents_and_is_seeded() -> None:
    rng = np.random.default_rng(3)
    gains = rng.normal(0.2, 1, 63)
    apart, paired = blocks(list(range(63))), blocks([i // 3 for i in range(63)])
    zeros = [0.0] * 63
    low, high = ratio_interval(made(list(gains), apart), made(zeros, apart), apart)
    assert low < math.exp(gains.sum() / apart.scored) < high
    error = gains.std() / math.sqrt(63) / 4
    assert math.log(high / low) == pytest.approx(2 * 1.96 * error, rel=0.15)
    # Three equal windows in each document are a third of the evidence.
    same = np.repeat(gains[:21], 3)
    narrow = ratio_interval(made(list(same), apart), made(zeros, apart), apart)
    wide = ratio_interval(made(list(same), paired), made(zeros, paired), paired)
    spread = math.log(wide[1] / wide[0]) / math.log(narrow[1] / narrow[0])
    assert spread == pytest.approx(math.sqrt(3), rel=0.15)
    again = ratio_interval(made(list(same), paired), made(zeros, paired), paired)
    assert wide == again
    assert ratio_interval(made(list(same), paired), made(zeros, paired), paired, seed=1) != wide


def test_each_rival_holds_as_much_and_is_compared_on_the_same_windows(
    model: LoadedModel, windows: Windows
) -> None:
    said: list[tuple[float, str]] = []
    rivals = [Rival("window"), Rival("sink"), Rival("tova"), Rival("window", "as gates")]
    results = evaluate(
        model,
        windows,
        [-0.3, 0.3],
        model,
        policies=rivals,
        progress=lambda *heard: said.append(heard),
    )
    # Gates off, the twin, then each of two shifts and its policies: six parts.
    assert [share for share, _ in said] == [part / 6 for part in range(6)]
    for result in results:
        assert result.ppl_ratio == pytest.approx(result.ppl_pruned / result.ppl_gates_off)
        assert result.documents == len(np.unique(windows.documents)) > 1
        assert [(r.policy, r.layers) for r in result.policies] == [
            (rival.policy, rival.layers) for rival in rivals
        ]
        for rival in result.policies:
            assert rival.held_ratio == pytest.approx(rival.held_entries / result.held_entries)
            # Budgets are whole numbers, and four sinks with their window hold at least that much.
            apart = abs(rival.held_entries - result.held_entries) / windows.context
            assert apart <= 0.25 or (rival.policy == "sink" and rival.budget == 5)
            assert rival.matched == (abs(rival.held_ratio - 1) <= 0.01)
            ratio = result.ppl_pruned / rival.ppl
            assert rival.pruned_over_policy == pytest.approx(ratio)
            low, high = rival.pruned_over_policy_low, rival.pruned_over_policy_high
            assert low is not None
            assert high is not None
            assert low <= ratio <= high
            assert rival.kl > 0
            assert 0 < rival.agreement < 1
    assert results[0].held_entries < results[1].held_entries <= results[1].dense_entries
    (alone,) = evaluate(model, windows, [-0.3], policies=rivals[:1])
    assert alone.policies[0].ppl == pytest.approx(results[0].policies[0].ppl)


def test_a_window_as_a_rule_is_a_window_as_a_mask(model: LoadedModel, windows: Windows) -> None:
    held = np.full((2, 31), 7.0)
    ((budget, beside),) = best_of(read_dense(model, windows), [Rival("window")], held)
    # What a budget of N leaves is seen by the next step beside its own entry: a window of N + 1.
    assert (budget == budget[0, 0]).all() or abs(int(budget[0, 0]) - int(budget[1, 0])) == 1
    deaths = np.stack([policy_deaths("local", 31, int(n) + 1) for n in budget[:, 0]])
    way = MaskedAttend(deaths=torch.from_numpy(deaths)[:, None].expand(2, 1, -1))
    nats = score(model, windows, lambda: way, batch=1).nats
    assert np.allclose(nats, beside.scored.nats, rtol=1e-5)


def test_of_two_ways_to_stride_the_better_is_the_rival(
    model: LoadedModel, windows: Windows
) -> None:
    held = np.full((2, 31), 12.0)
    both = [
        best_of(read_dense(model, windows), [Rival("strided", settings=(("short", short),))], held)[
            0
        ][1]
        for short in (0, 1)
    ]
    ((_, best),) = best_of(read_dense(model, windows), [Rival("strided")], held)
    sums = [beside.scored.nats.sum() for beside in both]
    assert sums[0] != sums[1]
    assert best.scored.nats.sum() == min(sums)


def test_kl_and_agreement_equal_sums_by_hand(model: LoadedModel, windows: Windows) -> None:
    known = read_dense(model, windows, batch=2)
    (beside,) = score_beside(known, [(model, lambda batch: MaskedAttend(-0.3))])
    dense = known.scored
    ids = torch.from_numpy(windows.ids)
    steps = torch.arange(ids.shape[1]).expand_as(ids)
    with torch.no_grad():
        off, on = (
            model.transformer(ids, steps, way)[:, :-1].double().log_softmax(-1)
            for way in (MaskedAttend(prune=False), MaskedAttend(-0.3))
        )
    kl = (off.exp() * (off - on)).sum(-1).sum(1).numpy()
    assert np.allclose(beside.kl, kl, atol=1e-3)
    assert np.array_equal(beside.agree, (off.argmax(-1) == on.argmax(-1)).sum(1).numpy())
    assert dense.kl.max() == 0
    assert dense.agreement(windows) == 1


def test_the_batch_changes_no_result(model: LoadedModel, windows: Windows) -> None:
    (one,), (all_at_once,) = (evaluate(model, windows, [0.1], batch=b) for b in (1, 0))
    assert one.ppl_pruned == pytest.approx(all_at_once.ppl_pruned, rel=1e-5)


def test_the_command_line_gives_every_series_in_one_pass(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model, text = str(folder / "pruned" / "final"), str(folder / "text.txt")
    (tmp_path / "more.txt").write_text((folder / "text.txt").read_text().replace("alpha", "beta"))
    words = ["eval", "--model", model, "--file", text, str(tmp_path / "more.txt")]
    words += ["--baseline", str(folder / "base" / "final"), "--context", "15", "31"]
    assert main([*words, "--gate-shift", "-1", "1", "--policies", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert [(r["context"], r["gate_shift"]) for r in rows] == [(15, -1), (15, 1), (31, -1), (31, 1)]
    assert [p["policy"] for p in rows[0]["policies"]] == ["window", "strided", "sink"]
    assert rows[0]["documents"] == 2 * 11
    assert (rows[0]["model"], rows[0]["baseline"]) == ("final", "final")
    assert rows[0]["weights_sha256"] == load(folder / "pruned" / "final").weights_sha256
    # Two windows of 15 in one of 31: the same text, but for the last token.
    assert rows[0]["tokens"] == rows[2]["tokens"] // 30 * 28
    assert main([*words, "--policies", "sink", "--layer-budgets", "equal", "as-gates"]) == 0
    assert "as gates" in capsys.readouterr().out
    assert main([*words, "--policies", "none"]) == 2
    assert main([*words, "--policies", "fifo"]) == 2
    assert main([*words, "--context", "15", "99"]) == 2
    capsys.readouterr()
    assert main([*words, "--json", "--windows", "1"]) == 0
    assert json.loads(capsys.readouterr().out)[0]["policies"] == []


def test_packed_windows_waste_no_tail(folder: Path, windows: Windows) -> None:
    packed = read_windows(folder / "text.txt", Tokenizer.load(folder), 31, packed=True)
    assert len(packed.ids) > len(windows.ids)
    assert np.array_equal(packed.documents, np.arange(len(packed.ids)))


def test_perplexity_and_sparsity_equal_sums_by_hand(model: LoadedModel, windows: Windows) -> None:
    (result,) = evaluate(model, windows, [0.1], batch=3)
    nats, dropped, at_end = 0.0, [], []
    for ids in torch.from_numpy(windows.ids):
        deaths: list[torch.Tensor] = []

        def attend(layer, q, k, v, gates, deaths=deaths):  # type: ignore[no-untyped-def]
            length, heads = q.shape[1], q.shape[2]
            products = gates.q_int[0] @ gates.k_int[0].T
            z = products / math.sqrt(gates.q_int.shape[-1]) + gates.beta + 0.1
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


@pytest.mark.parametrize("name", ["window", "sink", "h2o", "tova", "keynorm", "random"])
def test_a_policy_that_may_hold_everything_equals_the_dense_model(
    model: LoadedModel, windows: Windows, name: str
) -> None:
    held = np.broadcast_to(np.arange(1.0, 32), (2, 31))
    ((_, beside),) = best_of(read_dense(model, windows), [Rival(name)], held)
    (off,) = evaluate(model, windows, [100.0])
    nats = beside.scored.nats.sum()
    assert math.exp(nats / windows.scored) == pytest.approx(off.ppl_gates_off, rel=1e-6)
    assert beside.mean_kl(windows) == pytest.approx(0, abs=1e-6)


def test_policies_are_run_at_the_shifts_asked_for(model: LoadedModel, windows: Windows) -> None:
    rivals = [Rival("window"), Rival("sink")]
    (all_at,) = evaluate(model, windows, [0.1], policies=rivals)
    bare, one = evaluate(model, windows, [-0.3, 0.1], policies=rivals, policies_at=[0.1])
    assert bare.policies == ()
    assert one == all_at


def test_what_cannot_be_scored_is_refused(folder: Path, model: LoadedModel) -> None:
    tokenizer = Tokenizer.load(folder)
    with pytest.raises(DataError, match="no document of 400 tokens"):
        read_windows(folder / "text.txt", tokenizer, 400)
    with pytest.raises(RequestError, match="at least 2"):
        read_windows(folder / "text.txt", tokenizer, 1)
    long = read_windows(folder / "text.txt", tokenizer, 60)
    with pytest.raises(RequestError, match="longer than the model's 48"):
        evaluate(model, long)

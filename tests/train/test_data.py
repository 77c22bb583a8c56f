"""Packing and windows: nothing lost, nothing crossing documents, the same for the same step."""

from __future__ import annotations

import json
import lzma
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from dcp.errors import DataError, ModelError
from dcp.text.documents import END_OF_TEXT, read_documents
from dcp.text.tokens import Tokenizer
from dcp.train import data
from dcp.train.data import Shards, pack_file
from dcp.train.loop import train
from dcp.train.schedule import alpha_at, learning_rate_at
from dcp.train.sections import GateSettings, Optimiser
from dcp.train.settings import TrainSettings
from dcp.train.tokenizer import train_tokenizer

WORDS = [
    "the",
    "a",
    "old",
    "sea",
    "ship",
    "wind",
    "cold",
    "“we”",
    "said",
    "it's",
    "night",
    "morning",
    "under",
    "over",
    "ran",
    "café",
]


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with text.txt.xz, tokenizer files and shard.npy."""
    folder = tmp_path_factory.mktemp("data")
    rng = np.random.default_rng(0)
    documents = []
    for _ in range(60):
        lines = [" ".join(rng.choice(WORDS, rng.integers(3, 40))) for _ in range(3)]
        documents.append("\n".join(lines))
    with lzma.open(folder / "text.txt.xz", "wt", encoding="utf-8") as file:
        file.write("\n\n".join(documents) + "\n")
    train_tokenizer([folder / "text.txt.xz"], 300, folder)
    pack_file(folder / "text.txt.xz", folder, folder / "shard.npy", seed=5)
    return folder


def test_documents_survive_packing_but_for_breaks_and_quotes(packed: Path) -> None:
    tokenizer = Tokenizer.load(packed)
    tokens, starts = np.load(packed / "shard.npy"), np.load(packed / "shard.starts.npy")
    documents = list(read_documents(packed / "text.txt.xz"))
    assert len(starts) == len(documents)
    for i, paragraphs in enumerate(documents):
        end = starts[i + 1] if i + 1 < len(starts) else len(tokens)
        text = tokenizer.decode(tokens[starts[i] : end - 1])
        plain = text.replace("\n\n", "\n").replace("’", "'")
        assert plain == "\n".join(paragraphs)
        assert tokens[end - 1] == tokenizer.id_of(END_OF_TEXT)


def test_single_windows_never_hold_two_documents(packed: Path) -> None:
    shards = Shards.open([packed / "shard.npy"])
    end = Tokenizer.load(packed).id_of(END_OF_TEXT)
    for step in range(5):
        for row in shards.single(7, 63, seed=1, step=step):
            real = row[row >= 0]
            assert end not in real[:-1]
            assert (row[len(real) :] == -1).all()


def test_windows_depend_on_seed_and_step_alone(packed: Path) -> None:
    shards = Shards.open([packed / "shard.npy"])
    for deal in (shards.packed, shards.single):
        assert np.array_equal(deal(3, 17, 1, 4), deal(3, 17, 1, 4))
        assert not np.array_equal(deal(3, 17, 1, 4), deal(3, 17, 1, 5))
        assert not np.array_equal(deal(3, 17, 1, 4), deal(3, 17, 2, 4))


def shards_of(*sizes: int) -> Shards:
    """One shard of documents of ``sizes`` tokens; each token is the number of its document."""
    tokens = np.repeat(np.arange(len(sizes), dtype=np.uint16), sizes)
    return Shards((tokens,), (np.cumsum([0, *sizes[:-1]], dtype=np.int64),))


@pytest.mark.parametrize("length", [1, 2, 3, 7, 8, 9, 64, 100])
def test_documents_that_are_all_too_short_are_refused_and_one_that_is_not_is_dealt(length) -> None:
    least = max(2, length // 4)
    short = shards_of(*[least - 1] * 50)
    with pytest.raises(DataError, match=f"documents of {least} or more, and the longest here has"):
        short.single(1, length, 0, 0)
    rows = shards_of(*[least - 1] * 50, least).single(8, length, 0, 0)
    assert ((rows >= 0).sum(1) >= 2).all()  # there is always something to predict


def test_training_on_documents_that_are_too_short_stops_before_any_work(
    packed: Path, tmp_path: Path
) -> None:
    settings = TrainSettings().change(stage="dense", length=4000, precision="no")
    with pytest.raises(DataError, match="use a smaller length, or longer documents"):
        train(settings, [packed / "shard.npy"], packed, tmp_path / "run", init=packed)
    long = settings.change(stage="pretrain", length=10**6, context=10**6)
    with pytest.raises(DataError, match="shorter than one window"):
        train(long, [packed / "shard.npy"], packed, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_few_long_documents_are_not_read_in_the_place_of_all_short_ones() -> None:
    """Length 64: the chance is the length, times (tokens - 1) / 16 for those under 16 tokens."""
    sizes = np.asarray([64, 300, *[8] * 50, *[1] * 30])
    worth = sizes * np.where(sizes < 16, (sizes - 1) / 16, 1.0)
    chance, n = worth / worth.sum(), 4000
    drawn = shards_of(*sizes).single(n, 64, 1, 0)[:, 0]
    found = np.bincount(drawn, minlength=len(sizes)) / n
    assert (found[52:] == 0).all()  # nothing to predict in one token
    for group in (slice(0, 1), slice(1, 2), slice(2, 52)):
        wanted = chance[group].sum()
        assert found[group].sum() == pytest.approx(wanted, abs=4 * (wanted / n) ** 0.5)


def test_damaged_data_is_refused_in_one_line(tmp_path: Path, packed: Path) -> None:
    (tmp_path / "bad.npy").write_bytes(b"\x93NUMPY nonsense")
    (tmp_path / "bad.xz").write_bytes(b"not xz")
    with pytest.raises(DataError, match="not a packed shard"):
        Shards.open([tmp_path / "bad.npy"])
    (tmp_path / "bad.npy.xz").write_bytes(b"not xz")
    with pytest.raises(DataError, match="not a packed shard"):
        Shards.open([tmp_path / "bad.npy.xz"])
    np.save(tmp_path / "odd.npy", np.zeros(9, dtype=np.uint16))
    np.save(tmp_path / "odd.starts.npy", np.asarray([0, 9]))
    with pytest.raises(DataError, match=r"odd\.npy is not a packed shard"):
        Shards.open([tmp_path / "odd.npy"])
    with pytest.raises(DataError, match="no shards given"):
        Shards.open([])
    with pytest.raises(DataError, match="cannot read text"):
        list(read_documents(tmp_path / "bad.xz"))
    with pytest.raises(DataError, match="shorter than one window"):
        Shards.open([packed / "shard.npy"]).packed(1, 10**6, 0, 0)


def test_xz_shards_hold_the_same_documents_in_even_parts(
    packed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = Shards.open([packed / "shard.npy"])
    monkeypatch.setattr(data, "PART_BYTES", plain.total * 2 // 3)
    for folder in ("a", "b"):
        out = tmp_path / folder / "shard.npy"
        assert pack_file(packed / "text.txt.xz", packed, out, seed=5, xz=True) == plain.total
    files = sorted((tmp_path / "a").iterdir())
    assert len(files) == 8
    assert [f.read_bytes() for f in files] == [
        f.read_bytes() for f in sorted((tmp_path / "b").iterdir())
    ]
    shards = Shards.open([tmp_path / "a"])
    assert np.array_equal(np.concatenate(shards.tokens), plain.tokens[0])
    firsts = np.cumsum([0, *map(len, shards.tokens[:-1])])
    starts = np.concatenate([s + f for s, f in zip(shards.starts, firsts, strict=True)])
    assert np.array_equal(starts, plain.starts[0])
    assert min(map(len, shards.tokens)) > 0.7 * plain.total / 4


def test_one_part_deals_the_same_windows_as_the_plain_shard(packed: Path, tmp_path: Path) -> None:
    pack_file(packed / "text.txt.xz", packed, tmp_path / "shard.npy", seed=5, xz=True)
    plain, small = Shards.open([packed / "shard.npy"]), Shards.open([tmp_path])
    assert np.array_equal(plain.single(5, 63, 1, 2), small.single(5, 63, 1, 2))
    assert np.array_equal(plain.packed(5, 63, 1, 2), small.packed(5, 63, 1, 2))


def test_a_training_step_runs_from_xz_shards_as_from_plain_ones(
    packed: Path, tmp_path: Path
) -> None:
    pack_file(packed / "text.txt.xz", packed, tmp_path / "xz" / "shard.npy", seed=5, xz=True)
    settings = TrainSettings().change(
        layers=1, width=16, heads=1, kv_heads=1, ffn=16, context=31, length=31, batch=1,
        micro=1, steps=1, warmup=0, decay=0, precision="no",
    )  # fmt: skip
    runs = [
        train(settings, [shards], packed, tmp_path / name)
        for name, shards in (("plain", packed / "shard.npy"), ("small", tmp_path / "xz"))
    ]
    first, second = ((run / "model.safetensors").read_bytes() for run in runs)
    assert first == second


def test_a_vocabulary_past_two_bytes_is_packed_in_four(packed: Path, tmp_path: Path) -> None:
    big = json.loads((packed / "tokenizer.json").read_text())
    big["added_tokens"] += [
        {**big["added_tokens"][0], "id": 300 + i, "content": f"<{i}>"} for i in range(2**16)
    ]
    (tmp_path / "tokenizer.json").write_text(json.dumps(big))
    (tmp_path / "text.txt").write_text(f"the old sea <{2**16 - 1}> ran")
    pack_file(tmp_path / "text.txt", tmp_path, tmp_path / "shard.npy")
    (tokens,) = Shards.open([tmp_path / "shard.npy"]).tokens
    assert tokens.dtype == np.uint32
    assert 300 + 2**16 - 1 in tokens


def test_documents_end_with_the_eos_token_that_the_tokenizer_folder_names(
    packed: Path, tmp_path: Path
) -> None:
    other = (packed / "tokenizer.json").read_text().replace(END_OF_TEXT, "</s>")
    (tmp_path / "tokenizer.json").write_text(other)
    with pytest.raises(ModelError, match="names no end-of-text token"):
        pack_file(packed / "text.txt.xz", tmp_path, tmp_path / "shard.npy")
    (tmp_path / "tokenizer_config.json").write_text('{"eos_token": {"content": "</s>"}}')
    pack_file(packed / "text.txt.xz", tmp_path, tmp_path / "shard.npy")
    (tokens,) = Shards.open([tmp_path / "shard.npy"]).tokens
    assert tokens[-1] == Tokenizer.load(tmp_path).id_of("</s>")
    with pytest.raises(ModelError, match=r"no tokenizer\.json"):
        pack_file(packed / "text.txt.xz", tmp_path / "none", tmp_path / "shard.npy")


RATES = Optimiser(warmup=10, decay=20)


def test_learning_rate_rises_stays_and_falls_to_nothing() -> None:
    rates = [learning_rate_at(s, 100, RATES) for s in range(101)]
    assert rates[:11] == sorted(rates[:11])
    assert set(rates[10:79]) == {1.0}
    assert rates[80:] == sorted(rates[80:], reverse=True)
    assert rates[100] == 0.0
    half = [learning_rate_at(s, 100, replace(RATES, rate_last=0.5)) for s in range(101)]
    assert half[:80] == rates[:80]
    assert half[80:] == pytest.approx([0.5 + rate / 2 for rate in rates[80:]])


def test_a_longer_run_has_the_same_beginning() -> None:
    short = [learning_rate_at(s, 100, RATES) for s in range(80)]
    assert short == [learning_rate_at(s, 500, RATES) for s in range(80)]


def test_alpha_runs_from_first_to_last_and_never_back() -> None:
    alphas = [alpha_at(s, 50, GateSettings()) for s in range(51)]
    assert alphas == sorted(alphas)
    assert alphas[0] == pytest.approx(1.0)
    assert alphas[25] == pytest.approx(4.5)
    assert alphas[-1] == pytest.approx(8.0)
    early = [alpha_at(s, 50, GateSettings(alpha_steps=25)) for s in range(51)]
    assert early[:26] == pytest.approx(alphas[::2])
    assert set(early[25:]) == {8.0}

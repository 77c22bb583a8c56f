"""Text to tokens and back: spans, truncation, streaming."""

from __future__ import annotations

import json
import unicodedata
from itertools import pairwise
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
import tokenizers
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import decoders, models, normalizers, pre_tokenizers, processors, trainers

from dcp.errors import ModelError, RequestError
from dcp.text.encoding import Encoding
from dcp.text.spans import byte_spans, decode_bytes
from dcp.text.tokens import Tokenizer

CORPUS = ["The river rose for three days before anyone in the village spoke. naïve café\n"] * 4
EOT = "<|endoftext|>"

# What a person may paste: emoji with joiners, accents apart and together, CJK, NUL, newlines.
SNIPPETS = [
    "the river",
    " café",
    "e\u0301",
    "👩‍👩‍👧",
    "漢字かな",
    "\n\n",
    "\t",
    "\0",
    " ",
    "\u2029",
]
PARTS = st.one_of(st.sampled_from(SNIPPETS), st.text(max_size=5))
TEXTS = st.lists(PARTS, max_size=12).map("".join)


def byte_level(prefix_bos: bool = False) -> tokenizers.Tokenizer:
    backend = tokenizers.Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=300,
        special_tokens=[EOT, "<s>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    backend.train_from_iterator(CORPUS, trainer)
    if prefix_bos:
        backend.post_processor = processors.TemplateProcessing(
            single="<s> $A", special_tokens=[("<s>", 1)]
        )
    return backend


def sentencepiece() -> tokenizers.Tokenizer:
    """Llama 2's kind: a space in front, spaces as ▁, unknown characters as <0x..> bytes."""
    letters = ["▁", *"abcdefghijklmnopqrstuvwxyzT."]
    pieces = ["<unk>", *(f"<0x{byte:02X}>" for byte in range(256)), *letters]
    backend = tokenizers.Tokenizer(
        models.BPE(
            vocab={piece: i for i, piece in enumerate([*pieces, "▁t", "▁th"])},
            merges=[("▁", "t"), ("▁t", "h")],
            unk_token="<unk>",
            byte_fallback=True,
            fuse_unk=True,
        )
    )
    backend.normalizer = normalizers.Sequence(
        [normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]
    )
    backend.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()]
    )
    return backend


BYTE_LEVEL, WITH_BOS, PIECES = (
    Tokenizer(backend) for backend in (byte_level(), byte_level(prefix_bos=True), sentencepiece())
)
ALL = pytest.mark.parametrize(
    "tokenizer", [BYTE_LEVEL, WITH_BOS, PIECES], ids=["byte-level", "bos", "sentencepiece"]
)


def tiles(encoding: Encoding) -> str:
    """The text put together from spans, each character once."""
    text, end = "", 0
    for start, stop in encoding.offsets.tolist():
        assert start <= end or start == stop
        text += encoding.text[max(start, end) : stop]
        end = max(end, stop)
    return text


@ALL
@given(text=TEXTS)
def test_spans_tile_the_text_and_run_left_to_right(tokenizer: Tokenizer, text: str) -> None:
    encoding = tokenizer.encode(text)
    assert encoding.text == text
    assert tiles(encoding) == text
    assert (np.diff(encoding.offsets, axis=0) >= 0).all()
    assert encoding.ids.dtype == encoding.offsets.dtype == np.int32
    assert tokenizer.count(text) == len(encoding) == len(encoding.offsets)


@given(text=TEXTS)
def test_byte_level_round_trip_is_exact(text: str) -> None:
    assert BYTE_LEVEL.decode(BYTE_LEVEL.encode(text).ids) == text


@given(text=TEXTS, seed=st.integers(0, 2**32 - 1))
def test_spans_from_bytes_agree_with_a_slow_count(text: str, seed: int) -> None:
    raw = text.encode()
    cuts = np.sort(np.random.default_rng(seed).integers(0, len(raw) + 1, 5))
    bounds = [0, *cuts.tolist(), len(raw)]
    owner = [c for c, char in enumerate(text) for _ in char.encode()]
    pieces = list(pairwise(bounds))
    spans = byte_spans(text, [b - a for a, b in pieces]).tolist()
    for (a, b), (start, end) in zip(pieces, spans, strict=True):
        if a < b:
            assert (start, end) == (owner[a], owner[b - 1] + 1)
        else:
            assert start == end


def test_tokens_of_one_character_share_its_span() -> None:
    encoding = BYTE_LEVEL.encode("a🙂b")
    assert encoding.offsets.tolist() == [[0, 1], *[[1, 2]] * 4, [2, 3]]


def test_special_tokens_lead_only_if_the_tokenizer_puts_them_there() -> None:
    assert BYTE_LEVEL.encode("the").specials == 0
    encoding = WITH_BOS.encode("the")
    assert encoding.specials == 1
    assert encoding.ids[0] == WITH_BOS.id_of("<s>") == 1
    assert encoding.offsets[0].tolist() == [0, 0]
    assert len(WITH_BOS.encode("")) == 1
    assert len(BYTE_LEVEL.encode("")) == 0


def test_a_typed_special_token_is_that_token_and_spans_its_name() -> None:
    encoding = BYTE_LEVEL.encode(f"the{EOT}the")
    at = encoding.ids.tolist().index(BYTE_LEVEL.id_of(EOT))
    assert encoding.offsets[at].tolist() == [3, 3 + len(EOT)]
    assert tiles(encoding) == encoding.text


def test_a_normalised_text_keeps_the_users_characters() -> None:
    backend = byte_level()
    backend.normalizer = normalizers.NFC()
    encoding = Tokenizer(backend).encode("cafe\u0301 the")
    assert tiles(encoding) == encoding.text == "cafe\u0301 the"


def normalising(form: normalizers.Normalizer) -> Tokenizer:
    backend = byte_level()
    backend.normalizer = form
    return Tokenizer(backend)


NORMAL = {"NFC": normalising(normalizers.NFC()), "NFKC": normalising(normalizers.NFKC())}
MARKED = st.lists(
    st.one_of(
        st.sampled_from(
            ["e\u0301", "cafe\u0301", "q\u0323\u0301", "e\u0301\u0323", "\ufb01n", "½"]
        ),
        st.sampled_from(["\u1112\u1161\u11ab", "\u0301", " the", " ", "ñ", "🙂", "a\u030a b"]),
        st.text(max_size=3),
    ),
    max_size=12,
).map("".join)


@pytest.mark.parametrize("form", NORMAL)
@given(text=MARKED)
def test_a_token_of_a_normal_form_has_the_characters_that_it_is_made_of(
    form: Literal["NFC", "NFKC"], text: str
) -> None:
    tokenizer = NORMAL[form]
    found = tokenizer.encode(text)
    assert tiles(found) == text
    normal = tokenizer.encode(unicodedata.normalize(form, text))
    assert found.ids.tolist() == normal.ids.tolist()
    for (a, b), (c, d) in zip(found.offsets, normal.offsets, strict=True):
        # More, where a character became several and has several tokens.
        assert normal.text[c:d] in unicodedata.normalize(form, text[a:b])


def test_accents_stay_with_their_letters() -> None:
    found = NORMAL["NFC"].encode("e\u0301e\u0301 na\u0308ive \u1112\u1161\u11ab.")
    pieces = {found.text[a:b] for a, b in found.offsets}
    assert {"e\u0301", "a\u0308", "\u1112\u1161\u11ab", "."} <= pieces


def test_what_a_tokenizer_appends_has_no_characters() -> None:
    backend = byte_level()
    backend.post_processor = processors.TemplateProcessing(
        single=f"<s> $A {EOT}", special_tokens=[("<s>", 1), (EOT, 0)]
    )
    tokenizer = Tokenizer(backend)
    for text in ("the 🙂", "the", "cafe\u0301"):
        found = tokenizer.encode(text)
        assert (found.specials, found.ids[0], found.ids[-1]) == (1, 1, 0)
        assert found.offsets[-1].tolist() == [len(text)] * 2
        assert found.offsets[1:-1].tolist() == BYTE_LEVEL.encode(text).offsets.tolist()


@pytest.mark.parametrize("text", ["\ud800", "the \udfff river"])
def test_lone_surrogates_are_refused_by_place(text: str) -> None:
    with pytest.raises(RequestError, match="lone surrogate"):
        BYTE_LEVEL.encode(text)


def test_unknown_ids_are_visible() -> None:
    assert BYTE_LEVEL.decode([BYTE_LEVEL.vocab + 7]) == "\ufffd"
    assert BYTE_LEVEL.decode([0]) == EOT


@ALL
@given(text=TEXTS, limit=st.integers(0, 12), keep=st.sampled_from(["first", "last"]))
def test_truncation_keeps_whole_characters_at_the_asked_end(
    tokenizer: Tokenizer, text: str, limit: int, keep: str
) -> None:
    encoding = tokenizer.encode(text)
    try:
        cut = encoding.truncate(limit, keep)
    except RequestError:
        # Nothing fits: no room beside the special tokens, or the first character is too long.
        assert len(encoding) > limit
        return
    assert len(cut) <= limit
    assert tiles(cut) == cut.text
    assert text.endswith(cut.text) if keep == "last" else text.startswith(cut.text)
    ids = encoding.ids.tolist()
    rest = cut.ids.tolist()[cut.specials :]
    expected = ids[len(ids) - len(rest) :] if keep == "last" else ids[encoding.specials :]
    assert rest == expected[: len(rest)]
    assert cut.ids.tolist()[: cut.specials] == ids[: encoding.specials]


def test_truncation_leaves_a_short_text_alone() -> None:
    encoding = BYTE_LEVEL.encode("the river")
    assert encoding.truncate(len(encoding), "last") is encoding


@given(data=st.binary(max_size=40))
def test_decoding_agrees_with_python(data: bytes) -> None:
    text, ends, incomplete = decode_bytes(data)
    assert text == data.decode(errors="replace")
    assert len(ends) == len(text)
    assert ends == sorted(ends)
    assert not ends or ends[-1] == len(data)
    # Incomplete means: some continuation makes one character of the tail.
    tail = data[ends[-2] if len(ends) > 1 else 0 :]
    more = [b"\x80", b"\x80\x80", b"\x80\x80\x80"]
    more += [b"\x90\x80", b"\xa0\x80", b"\x90\x80\x80"]
    completes = any(_is_one_character(tail + rest) for rest in more)
    assert incomplete == (completes and not _is_one_character(tail))


def _is_one_character(data: bytes) -> bool:
    try:
        return len(data.decode()) == 1
    except UnicodeDecodeError:
        return False


@ALL
@settings(deadline=None)
@given(prompt=TEXTS, ids=st.lists(st.integers(0, 299), max_size=25))
def test_streaming_never_retracts_a_complete_character(
    tokenizer: Tokenizer, prompt: str, ids: list[int]
) -> None:
    stream = tokenizer.stream(tokenizer.encode(prompt))
    shown = stream.text
    assert shown == prompt
    for token in ids:
        stream.append([token])
        settled = shown[:-1] if shown.endswith("\ufffd") else shown
        assert stream.text.startswith(settled)
        shown = stream.text
    assert shown == prompt + tokenizer.decode(ids)
    offsets = stream.offsets
    assert len(offsets) == len(stream.ids)
    assert (np.diff(offsets, axis=0) >= 0).all()
    assert tiles(Encoding(shown, stream.ids, offsets)) == shown


@given(prompt=TEXTS, text=TEXTS)
def test_streaming_a_text_gives_the_spans_of_that_text(prompt: str, text: str) -> None:
    stream = BYTE_LEVEL.stream(BYTE_LEVEL.encode(prompt))
    more = BYTE_LEVEL.encode(text)
    stream.append(more.ids.tolist())
    assert stream.text == prompt + text
    assert (
        stream.offsets[len(stream.ids) - len(more) :].tolist()
        == (more.offsets + len(prompt)).tolist()
    )


def test_an_incomplete_character_is_one_replacement_until_it_is_whole() -> None:
    stream = BYTE_LEVEL.stream(BYTE_LEVEL.encode("a"))
    shown = []
    for token in BYTE_LEVEL.encode("🙂").ids.tolist():
        stream.append([token])
        shown.append(stream.text)
    assert shown == ["a\ufffd", "a\ufffd", "a\ufffd", "a🙂"]
    assert stream.offsets.tolist() == [[0, 1], *[[1, 2]] * 4]


def test_loading_reads_a_checkpoint_folder(tmp_path: Path) -> None:
    byte_level().save(str(tmp_path / "tokenizer.json"))
    loaded = Tokenizer.load(tmp_path)
    assert loaded.encode("the river").ids.tolist() == BYTE_LEVEL.encode("the river").ids.tolist()


def test_a_saved_truncation_is_not_obeyed(tmp_path: Path) -> None:
    backend = byte_level()
    backend.enable_truncation(3)
    backend.enable_padding(length=3)
    backend.save(str(tmp_path / "tokenizer.json"))
    assert len(Tokenizer.load(tmp_path).encode("q" * 10)) == 10


@pytest.mark.parametrize("content", ["", "{}", '{"version": "1.0"}', "\x00\x01"])
def test_a_damaged_tokenizer_is_one_line(tmp_path: Path, content: str) -> None:
    (tmp_path / "tokenizer.json").write_text(content)
    with pytest.raises(ModelError) as caught:
        Tokenizer.load(tmp_path)
    assert "\n" not in str(caught.value)


def test_an_unsupported_kind_is_named(tmp_path: Path) -> None:
    backend = tokenizers.Tokenizer(models.WordPiece({"[UNK]": 0}, unk_token="[UNK]"))
    backend.decoder = decoders.WordPiece()
    backend.save(str(tmp_path / "tokenizer.json"))
    with pytest.raises(ModelError, match="WordPiece"):
        Tokenizer.load(tmp_path)


def test_a_folder_without_tokenizer_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "gpt2"}))
    with pytest.raises(ModelError, match="tokenizer") as caught:
        Tokenizer.load(tmp_path)
    assert "\n" not in str(caught.value)


def test_a_sentencepiece_file_alone_names_what_reads_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "tokenizer.model").write_bytes(b"\0" * 64)
    monkeypatch.setattr("dcp.text.tokens.find_spec", lambda name: None)
    with pytest.raises(ModelError, match="pip install sentencepiece protobuf"):
        Tokenizer.load(tmp_path)


def test_an_added_token_that_the_model_does_not_know_is_refused_only_where_it_is_used() -> None:
    backend = byte_level()
    rows = backend.get_vocab_size()
    backend.add_special_tokens(["[PAD]"])
    whole = Tokenizer(backend)
    assert whole.added_beyond(rows)
    assert not whole.added_beyond(rows - 1)
    known = Tokenizer(backend, rows=rows)
    assert known.id_of("[PAD]") is None
    assert known.id_of(EOT) == 0
    assert known.encode("the river").ids.tolist() == BYTE_LEVEL.encode("the river").ids.tolist()
    with pytest.raises(RequestError, match=r"\[PAD\]"):
        known.encode("the [PAD] river")


def test_a_slow_folder_is_converted(tmp_path: Path) -> None:
    spec = json.loads(byte_level().to_str())["model"]
    (tmp_path / "vocab.json").write_text(json.dumps(spec["vocab"]))
    merges = [" ".join(merge) if isinstance(merge, list) else merge for merge in spec["merges"]]
    (tmp_path / "merges.txt").write_text("#version: 0.2\n" + "\n".join(merges))
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "gpt2"}))
    kind = {"tokenizer_class": "GPT2Tokenizer"}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(kind))
    loaded = Tokenizer.load(tmp_path)
    assert loaded.encode("the river").ids.tolist() == BYTE_LEVEL.encode("the river").ids.tolist()

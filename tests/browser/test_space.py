"""The engine in the page says what `dcp.engine` says: tokens, deaths, spans, draws, words."""

from __future__ import annotations

import json
import math
import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from dcp.engine.sampling import draw, uniforms
from dcp.errors import RequestError
from dcp.model.config import Sampling
from dcp.model.dial import share_at, shift_at
from dcp.model.registry import open_model
from dcp.runs.recorder import record
from dcp.space import static
from dcp.space.pack import pack_tokenizer
from dcp.speech.tagger import UPOS
from dcp.text.tokens import Tokenizer
from tests.helpers import checkpoints
from tests.helpers.pages import HOSTILE, RIVER, ask, compare, module, recorded, served


def spelling() -> dict[str, Any]:
    """The bundled tokenizer as the page gets it."""
    path = open_model("dcp-mini").info.path / "tokenizer.json"
    return pack_tokenizer(json.loads(path.read_text(encoding="utf-8")))


@pytest.mark.parametrize(
    ("text", "settings"),
    [
        (RIVER * 2, {"new": 48, "temperature": 0, "seed": 0}),
        (RIVER * 2, {"new": 64, "temperature": 0.8, "seed": 2**63 - 1}),
        (RIVER, {"new": 40, "temperature": 1.3, "seed": 5, "sparsity": 0.93}),
        (RIVER, {"new": 40, "temperature": 0.8, "seed": 5, "sparsity": 0.35}),
        (HOSTILE * 3, {"new": 30, "temperature": 0.8, "seed": 1}),
        (RIVER * 20, {"new": 0, "temperature": 0.8, "seed": 0}),
        ("a", {"new": 1, "temperature": 0, "seed": 0}),
    ],
)
def test_tokens_and_deaths_are_the_engines(
    space_page: Any, text: str, settings: dict[str, Any]
) -> None:
    answer = ask(space_page, text, **settings)
    trace = record(text, **recorded(open_model("dcp-mini"), settings))
    verdict = compare(answer, trace)
    assert verdict.same_tokens
    assert not verdict.differing or verdict.near_tie
    assert (answer.text, answer.n_queries) == (trace.text, trace.n_queries)


def test_the_dial_of_the_page_is_the_librarys_at_every_length(space_page: Any) -> None:
    info = open_model("dcp-mini").info
    assert info.shares is not None
    lengths = [1, 16, 21, 59, 256, 700, 1024, 5000]
    asked = [(share, n) for n in lengths for share in (0.0, 0.05, 0.35, 0.6, 0.93, 0.99, 1.0)]
    shifts = [(shift, n) for n in lengths for shift in (-40.0, -20.5, -3.3, 0.0, 1.2, 40.0)]
    space_page.evaluate("window.dcp.ready")
    found = module(
        space_page,
        "dial",
        """async (dial, [asked, shifts]) => {
          const spec = (await (await fetch(
            document.querySelector('link[href$="manifest.json"]').href)).json()).model;
          return [asked.map(([share, n]) => dial.shiftFor(spec, share, n)),
                  shifts.map(([shift, n]) => dial.shareOf(spec, shift, n)),
                  asked.map(([share, n]) => dial.shiftFor({ ...spec, shares: null }, share, n))];
        }""",
        [asked, shifts],
    )

    def shift_or_nan(dial: Any, share: float, tokens: int) -> float:
        try:
            return shift_at(dial, share, tokens)
        except RequestError:
            return math.nan

    expected = [shift_or_nan(info, share, n) for share, n in asked]
    assert sum(map(math.isnan, expected)) > 10
    assert found[0] == pytest.approx(expected, abs=1e-9, nan_ok=True)
    assert found[1] == pytest.approx([share_at(info.shares, shift, n) for shift, n in shifts])
    without = replace(info, shares=None)
    expected = [shift_or_nan(without, share, n) for share, n in asked]
    assert found[2] == pytest.approx(expected, abs=1e-9, nan_ok=True)


@pytest.mark.parametrize("architecture", ["llama", "qwen3"])
def test_shared_heads_and_norms_of_queries_and_keys(
    browser: Any, tmp_path: Path, architecture: str
) -> None:
    """Llama with two key heads for four queries; Qwen 3, which also normalises both."""
    checkpoints.make(tmp_path / "model", architecture, drop=0.6)
    model = open_model(tmp_path / "model")
    static.write(static.build(model), tmp_path / "space")
    with served(tmp_path / "space") as address:
        opened = browser.new_page()
        opened.goto(address)
        answer = ask(opened, RIVER, new=60, temperature=1, seed=3)
        opened.close()
    trace = record(RIVER, model=model, new_tokens=60, temperature=1, seed=3)
    verdict = compare(answer, trace)
    assert verdict.same_tokens
    assert not verdict.differing or verdict.near_tie
    assert 0.2 < trace.sparsity_at_end() < 0.95


def test_without_webassembly_plain_javascript_says_the_same(
    browser: Any, space_address: str, space_page: Any
) -> None:
    """The kernels' file is damaged on its way, as good as no WebAssembly at all."""
    fast = ask(space_page, RIVER, new=20, temperature=0.8, seed=4)
    assert space_page.evaluate("window.dcp.ready") == "wasm"
    context = browser.new_context()
    context.route("**/kernels.wasm", lambda route: route.fulfill(body=b"not a module"))
    slow_page = context.new_page()
    slow_page.goto(space_address)
    slow = ask(slow_page, RIVER, new=20, temperature=0.8, seed=4)
    assert slow_page.evaluate("window.dcp.ready") == "javascript"
    context.close()
    assert slow.ids == fast.ids
    assert np.array_equal(slow.death, fast.death)


def test_plain_javascript_on_request_also_where_the_page_was_kept(
    browser: Any, space_address: str
) -> None:
    """On the second visit the service worker answers, and what it answers has no query."""
    context = browser.new_context()
    first = context.new_page()
    first.goto(space_address)
    assert first.evaluate("window.dcp.ready") == "wasm"
    first.evaluate("navigator.serviceWorker.ready.then(() => 0)")
    again = context.new_page()
    again.goto(space_address + "?plain")
    assert again.evaluate("navigator.serviceWorker.controller !== null")
    assert again.evaluate("window.dcp.ready") == "javascript"
    context.close()


def hostile_texts(count: int) -> list[str]:
    """Random code points of all planes, white space of all kinds, contractions, broken emoji."""
    generator = random.Random(11)
    pieces = [*HOSTILE.split(" "), "don't", "I'LL", "  ", "\n \n", "\u3000", "\ufeff", "½Ⅷ", "'s"]

    def char() -> str:
        if generator.random() < 0.5:
            return chr(generator.randrange(32, 0x250))
        code = generator.choice([0x3000, 0xD7FF, 0x10FFFF])
        return chr(generator.randrange(0x250, code)).encode("utf-8", "replace").decode()

    def text() -> str:
        parts = generator.randrange(1, 60)
        return "".join(
            generator.choice(pieces) if generator.random() < 0.2 else char() for _ in range(parts)
        )

    return [text() for _ in range(count)]


def test_the_tokenizer_gives_the_same_ids_and_spans(space_page: Any) -> None:
    texts = [*hostile_texts(1500), "a" * 5000, " " * 300, "\n" * 77 + "x"]
    tokenizer = Tokenizer.load(open_model("dcp-mini").info.path)
    found = module(
        space_page,
        "tokenizer",
        """({ Tokenizer }, [spec, texts]) => {
          const t = new Tokenizer(spec);
          return texts.map((s) => Object.values(t.encode(s)).map((a) => Array.from(a)));
        }""",
        [spelling(), texts],
    )
    for text, (ids, spans) in zip(texts, found, strict=True):
        wanted = tokenizer.encode(text)
        assert ids == wanted.ids.tolist(), repr(text)
        assert spans == wanted.offsets.reshape(-1).tolist(), repr(text)


def test_broken_characters_stream_as_in_the_engine(space_page: Any) -> None:
    """Random ids: bytes that never become a character, and characters in several tokens."""
    model = open_model("dcp-mini")
    generator = np.random.default_rng(5)
    ids = [generator.integers(0, 400, 60).tolist() for _ in range(40)]
    found = module(
        space_page,
        "tokenizer",
        """({ Tokenizer, TextStream }, [spec, all]) => {
          const t = new Tokenizer(spec);
          return all.map((ids) => {
            const s = new TextStream(t, "é🙂", t.encode("é🙂"));
            ids.forEach((id) => s.push(id));
            return [s.text, s.spans];
          });
        }""",
        [spelling(), ids],
    )
    for row, (text, spans) in zip(ids, found, strict=True):
        stream = model.tokenizer.stream(model.tokenizer.encode("é🙂"))
        stream.append(row)
        assert (text, spans) == (stream.text, stream.offsets.reshape(-1).tolist())


def test_uniforms_and_draws_are_those_of_the_engine(space_page: Any) -> None:
    seeds = [0, 1, 2**32, 2**63 - 1]
    found = module(
        space_page,
        "sampling",
        "({ uniform }, seeds) => seeds.map((s) => [0, 1, 1023].map((p) => uniform(BigInt(s), p)))",
        [str(seed) for seed in seeds],
    )
    assert found == [uniforms(seed, [0] * 3, [0, 1, 1023]).tolist() for seed in seeds]

    logits = torch.randn(40, 500, generator=torch.Generator().manual_seed(1)) * 4
    us = torch.rand(40, generator=torch.Generator().manual_seed(2))
    for temperature, top_k, top_p in [(0, 0, 1.0), (0.8, 0, 1.0), (1.5, 7, 1.0), (1.0, 30, 0.6)]:
        wanted = draw(logits, Sampling(temperature, top_k, top_p, 0), us).tolist()
        got = module(
            space_page,
            "sampling",
            """({ draw }, [rows, how, us]) =>
              rows.map((row, i) => draw(Float32Array.from(row), how, us[i]))""",
            [
                logits.tolist(),
                {"temperature": temperature, "topK": top_k, "topP": top_p},
                us.tolist(),
            ],
        )
        assert got == wanted


def test_words_of_the_page_are_spans_of_its_text(space_page: Any) -> None:
    found = module(
        space_page,
        "words",
        "({ split }, text) => split(text).map(([a, b]) => text.slice(a, b))",
        "Mr. Lee can't pay $1,500.50 - it's the 3rd time!!! See www.x.org... (I cannot.)",
    )
    assert found == [
        *("Mr.", "Lee", "ca", "n't", "pay", "$", "1,500.50", "-", "it", "'s", "the", "3rd", "time"),
        *("!!!", "See", "www.x.org...", "(", "I", "can", "not", ".", ")"),
    ]
    tags = module(space_page, "tagger", "({ TAGS }) => TAGS")
    assert tuple(tags) == UPOS

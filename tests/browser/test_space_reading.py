"""What the page makes of a trace is what the library makes of it: rates, plans, payload."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from dcp.model.registry import open_model
from dcp.resources import asset
from dcp.runs.plans import matched, put_back
from dcp.runs.recorder import record
from dcp.runs.rescore import effect
from dcp.space.model import describe
from dcp.speech.tagger import GROUPS, UPOS, group_of
from dcp.speech.words import Word, from_json
from dcp.stats.estimate import by_cluster
from dcp.stats.lives import observe
from dcp.stats.survival import drop_table
from dcp.trace import ALIVE, Trace
from dcp.viewer.payload import payload
from tests.helpers.pages import RIVER, ask, module
from tests.helpers.traces import random_trace


def as_page(trace: Trace, words: list[Word]) -> list[dict[str, Any]]:
    """A trace and its words as the page's modules take them, arrays as lists."""
    tagged = [word for word in words if word.pos in UPOS]
    found = {
        "token_ids": trace.token_ids.tolist(),
        "death": trace.death.reshape(-1).tolist(),
        "logprob": [None if np.isnan(x) else float(x) for x in trace.logprob],
        "layers": trace.layers,
        "n_queries": trace.n_queries,
        "prompt": trace.prompt_tokens,
    }
    spans = [x for w in tagged for x in (w.start, w.end, w.first, w.last)]
    return [found, {"spans": spans, "pos": [UPOS.index(w.pos) for w in tagged]}]


def column(rows: list[dict[str, Any]], key: str) -> list[float]:
    return [np.nan if row[key] is None else row[key] for row in rows]


@pytest.mark.parametrize("source", ["prompt", "generated", "both"])
@pytest.mark.parametrize("by", ["pos", "group"])
def test_drop_rates_and_intervals_are_those_of_the_statistics(
    space_page: Any, source: Any, by: Any
) -> None:
    """Two texts, one long enough for intervals; of the same resamples, and of the page's own."""
    short = Trace.load(asset("traces/heldout-1.safetensors"))
    spoken = from_json(asset("traces/heldout-1.words.json").read_text(encoding="utf-8"))
    long = random_trace(4, layers=3, tokens=1000, prompt_tokens=900)
    tags = np.random.default_rng(1).choice(["NOUN", "VERB", "DET", "INTJ"], 1000)
    every = [
        Word(int(a), int(b), "w", tag, j, j, "prompt" if j < 900 else "generated", True)
        for j, ((a, b), tag) in enumerate(zip(long.offsets, tags.tolist(), strict=True))
    ]
    names = list(UPOS if by == "pos" else GROUPS)
    of = list(range(17)) if by == "pos" else [names.index(group_of(pos)) for pos in UPOS]
    code = "({ rates }, [t, words, groups, source, w]) => rates(t, words, groups, source, 32, w)"
    for trace, words in ((short, spoken), (long, every)):
        clusters = len(by_cluster(observe([(trace, words)], by=by, source=source), 32)[0])
        even = np.full(clusters, 1 / clusters)
        weights = np.random.default_rng(0).multinomial(clusters, even, size=1000)
        given = [*as_page(trace, words), {"names": names, "of": of}, source]
        found = module(space_page, "rates", code, [*given, weights.tolist()])
        wanted = drop_table([(trace, words)], by, source=source, n_boot=1000, seed=0)
        assert [row["group"] for row in found] == wanted["group"].tolist()
        for key in ("words", "at_risk", "events"):
            assert [row[key] for row in found] == wanted[key].tolist(), key
        for key in ("drop_rate", "ci_low", "ci_high"):
            assert np.allclose(column(found, key), wanted[key], equal_nan=True), key
        own = module(space_page, "rates", code, [*given, None])
        for key in ("ci_low", "ci_high"):
            # The outer percentiles of 1000 resamples move by less than this from seed to seed.
            assert np.allclose(column(own, key), wanted[key], equal_nan=True, atol=0.05), key
        told = wanted[["drop_rate", "ci_low"]].notna().any()
        assert told["drop_rate"] or source == "generated"
        assert told["ci_low"] == (trace is long and source != "generated")


def test_plans_and_their_matches_are_those_of_the_library(space_page: Any) -> None:
    trace = Trace.load(asset("traces/heldout-1.safetensors"))
    given, _ = as_page(trace, [])
    for token, layer in ((12, None), (40, 3), (90, None)):
        plan = put_back(trace, token, layer)
        own = module(
            space_page,
            "plans",
            """({ putBack, matched }, [trace, token, layer]) => {
              const plan = putBack(trace, token, layer);
              return { plan, ...matched(trace, plan) };
            }""",
            [given, token, layer],
        )
        assert own["plan"] == {"token": token, "layers": [*plan.layers], "steps": [*plan.steps]}
        theirs = matched(trace, plan, n=10**6)
        wanted = matched(trace, plan)
        assert (len(own["plans"]), own["horizon"]) == (len(wanted.plans), wanted.horizon)
        # The draw is the page's own; what it draws from is the library's.
        every = {(p.token, p.layers, p.steps) for p in theirs.plans}
        assert all((p["token"], (*p["layers"],), (*p["steps"],)) in every for p in own["plans"])


def test_a_token_put_back_changes_the_text_as_in_the_library(space_page: Any) -> None:
    text = RIVER * 2 + "The fox sat down and waited for the miller."
    ask(space_page, text, new=30, temperature=0, seed=0)
    model = open_model("dcp-mini")
    trace = record(text, new_tokens=30, temperature=0, model=model)
    token = int(np.argmax((trace.death[:, 5:20] != ALIVE).sum(axis=0))) + 5
    wanted = effect(model, trace, put_back(trace, token))
    found = space_page.evaluate("(token) => window.dcp.putBack(token)", token)
    assert np.allclose(found["change"], wanted.after, atol=2e-4)
    assert abs(wanted.total) > 1e-3
    assert len(found["totals"]) == len(wanted.controls.plans)
    assert "nats" in space_page.inner_text("#back-answer")


def test_the_view_is_given_what_the_app_gives_it(space_page: Any) -> None:
    """The payload, key by key: characters in several tokens, and in two UTF-16 units."""
    trace = record("é🙂 A cat 👩‍👩‍👧 <|endoftext|> sat.", new_tokens=6, seed=2)
    words = [Word(4, 5, "A", "DET", 4, 4, "prompt", True)]
    given, spans = as_page(trace, words)
    given |= {"offsets": trace.offsets.reshape(-1).tolist(), "text": trace.text}
    given |= {"margin": [None if np.isnan(x) else float(x) for x in trace.margin.reshape(-1)]}
    found = module(
        space_page,
        "payload",
        """({ payload }, [sample, t, words, spec]) => {
          const floats = (a) => Float32Array.from(a, (v) => v ?? NaN);
          const trace = {
            ...t, token_ids: Int32Array.from(t.token_ids), offsets: Int32Array.from(t.offsets),
            death: Int32Array.from(t.death), margin: floats(t.margin), logprob: floats(t.logprob),
            planned: 0, counters: { held: 7, now: 1, mean: 2, first: 3 },
          };
          const marked = { spans: Int32Array.from(words.spans), pos: Uint8Array.from(words.pos) };
          const request = { gateShift: 0, seed: 2, temperature: 0.8 };
          const made = { spec, impl: "wasm", request, running: false };
          return payload(sample, "trace", trace, made, marked);
        }""",
        [payload(trace, []), given, spans, describe(open_model("dcp-mini"))],
    )
    wanted = payload(trace, words)
    own = ("label", "machine", "speed")
    assert found.keys() == wanted.keys()
    for key in ("memory", "speed"):
        assert found[key].keys() == wanted[key].keys()
    wanted["memory"]["kv_bytes_held"] = 7
    for key in found.keys() - set(own):
        assert found[key] == wanted[key], key
    assert found["label"].split(" · ")[:-1] == wanted["label"].split(" · ")[:-1]

"""The payload says what the trace says; the static page is one closed, escaped file."""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import re
from dataclasses import replace

import numpy as np
import pytest

from dcp.errors import RequestError, TraceError
from dcp.speech.tagger import GROUPS, UPOS
from dcp.speech.words import Word
from dcp.trace import Trace
from dcp.viewer import static
from dcp.viewer.dial import Setting, dial
from dcp.viewer.payload import Speed, payload
from tests.helpers.traces import DESIGN, make_trace, random_trace

HOSTILE = [
    "<script>",
    "alert(1)",
    "</script>",
    ' <img src="http://x.test/a" onerror=alert(2)>',
    " 🙂é",
    "\u2028",
    " ]]>",
    "<!--",
]


def hostile_trace() -> Trace:
    return make_trace(HOSTILE, np.full((3, len(HOSTILE)), -1), prompt_tokens=4)


def array(data: str, dtype: str) -> np.ndarray:
    return np.frombuffer(base64.b64decode(data), dtype)


def test_arrays_come_back_equal() -> None:
    trace = Trace.load(DESIGN)
    sent = payload(trace)
    death = array(sent["death"], "<i4").reshape(trace.layers, trace.tokens)
    margin = array(sent["margin"], "<f4").reshape(trace.layers, trace.tokens)
    assert np.array_equal(death, trace.death)
    assert np.array_equal(margin, trace.margin, equal_nan=True)
    assert np.array_equal(array(sent["logprob"], "<f4"), trace.logprob, equal_nan=True)
    assert (sent["tokens"], sent["layers"], sent["queries"]) == (200, 6, 199)


def test_spans_index_the_text_as_javascript_does() -> None:
    trace = hostile_trace()
    sent = payload(trace)
    units = sent["text"].encode("utf-16-le")
    spans = array(sent["spans"], "<i4").reshape(-1, 2)
    pieces = [units[2 * a : 2 * b].decode("utf-16-le") for a, b in spans]
    assert pieces == HOSTILE


def test_words_carry_their_tag_and_group() -> None:
    trace = make_trace([" A", " fox", "es", " ran"], np.full((1, 4), -1))
    words = [
        Word(3, 8, "foxes", "NOUN", 1, 2, "prompt", True),
        Word(9, 12, "ran", "", 3, 3, "prompt", False),
    ]
    sent = payload(trace, words)
    assert array(sent["words"], "<i4").tolist() == [3, 8, 1, 2]
    assert [sent["pos_names"][i] for i in array(sent["word_pos"], "u1")] == ["NOUN"]
    assert [sent["group_names"][g] for g in sent["pos_group"]][UPOS.index("PUNCT")] == "punctuation"
    assert len(sent["group_names"]) == len(GROUPS) == 5


def test_the_axis_keeps_room_for_what_is_planned() -> None:
    trace = make_trace(["a", "b", "c"], np.full((1, 3), -1))
    assert payload(trace, planned=10)["planned"] == 10
    assert payload(trace, planned=2)["planned"] == 3
    assert payload(trace, running=True, run_id="r")["running"] is True


def test_counters_are_those_of_the_run_unless_given() -> None:
    trace = make_trace(["a", "b"], np.full((1, 2), -1), tokens_per_second=12.5)
    assert payload(trace)["speed"]["mean"] == 12.5
    assert payload(trace, speed=Speed(now=3.0, process=7))["speed"]["now"] == 3.0


def test_a_token_that_is_part_of_a_character_has_a_name() -> None:
    trace = make_trace(["ab", "🙂"], np.full((1, 2), -1))
    shared = np.array([[0, 2], [2, 3], [2, 3]], np.int32)
    meta = replace(trace.meta, prompt_tokens=3, n_queries=3)
    parts = Trace(
        np.arange(3, dtype=np.int32),
        shared,
        np.repeat(trace.death, [2, 1], axis=1),
        np.full((1, 3), np.nan, np.float32),
        np.full(3, np.nan, np.float32),
        np.full(3, np.nan, np.float32),
        meta,
    )
    names = payload(parts)["names"]
    assert names["1"] != names["2"]
    assert "0" not in names


def test_the_page_lets_only_its_own_script_and_style_run() -> None:
    page = static.html(hostile_trace())
    policy = re.search(r'Content-Security-Policy" content="([^"]+)"', page)
    assert policy is not None
    rules = dict(rule.strip().split(" ", 1) for rule in policy[1].split(";"))
    assert rules["default-src"] == "'none'"
    for tag, rule in (("script", "script-src"), ("style", "style-src")):
        body = re.search(rf"<{tag}(?: type=\"module\")?>(.*?)</{tag}>", page, re.S)
        assert body is not None
        digest = base64.b64encode(hashlib.sha256(body[1].encode()).digest()).decode()
        assert rules[rule] == f"'sha256-{digest}'"


def test_the_page_asks_for_nothing_outside_itself() -> None:
    page = static.html(make_trace(["a", " b"], np.full((2, 2), -1)))
    script = page.split('<script type="module">')[1]
    assert not re.search(r"\b(src|href)\s*=", page.split("<script")[0])
    for call in ("fetch(", "XMLHttpRequest", "import(", "WebSocket", "sendBeacon", "innerHTML"):
        assert call not in script


def test_hostile_text_cannot_leave_its_block() -> None:
    trace = hostile_trace()
    page = static.html(trace)
    block = page.split('<script type="application/json" id="trace">')[1].split("</script>")[0]
    assert json.loads(block)["text"] == trace.text
    assert not set("<>&\u2028") & set(block)
    assert page.count("<script") == 2


@pytest.mark.parametrize("tokens", [1, 2, 63])
def test_odd_sizes_have_a_page(tokens: int) -> None:
    death = np.full((1, tokens), -1)
    assert static.html(make_trace(["w "] * tokens, death)).startswith("<!doctype html>")


def test_a_trace_shows_itself_in_a_sandboxed_frame() -> None:
    frame = hostile_trace()._repr_html_()
    assert frame.startswith('<iframe sandbox="allow-scripts" srcdoc="')
    assert "<script" not in frame


def test_a_dial_holds_the_runs_own_setting_and_those_that_were_read() -> None:
    trace = Trace.load(DESIGN)
    settings = [Setting(None), Setting(0.0, 0.7, 1.02, 1024), Setting(-1.0, 0.8, 1.1, 1024)]
    sparser = replace(trace, meta=replace(trace.meta, gate_shift=-1.0))
    assert dial(trace, settings, {}) == {}
    assert dial(trace, settings[:1], {}, asks=True) == {}
    found = dial(trace, settings, {-1.0: sparser})
    assert found["at"] == 0
    assert [setting["shift"] for setting in found["settings"]] == [0.0, -1.0]
    assert (array(found["settings"][1]["death"], "<i4") == trace.death.ravel()).all()
    wide = dial(trace, settings, {}, asks=True, busy=True)
    assert [("death" in setting) for setting in wide["settings"]] == [False, True, False]
    assert wide["busy"]
    other = replace(trace, token_ids=trace.token_ids[::-1].copy())
    with pytest.raises(TraceError, match="other tokens"):
        dial(trace, settings, {-1.0: other})


def test_a_page_to_embed_carries_the_same_payload_and_is_refused_when_heavy() -> None:
    trace = hostile_trace()
    page = static.embed(trace)
    block = re.search(r'<script type="application/octet-stream" id="trace">([^<]*)<', page)
    assert block is not None
    sent = json.loads(gzip.decompress(base64.b64decode(block[1])))
    assert sent == json.loads(json.dumps(payload(trace)))
    policy = re.search(r'Content-Security-Policy" content="([^"]+)"', page)
    assert policy is not None
    assert "default-src 'none'" in policy[1]
    assert not re.search(r"(?:src|href)=|https?://", page.split('<script type="module">')[0])
    with pytest.raises(RequestError, match="make the whole view of this one"):
        static.embed(random_trace(1, layers=40, tokens=2000, prompt_tokens=5))

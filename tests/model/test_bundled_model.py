"""What is shipped is what the model card says: small files, a dial in order, samples of its own."""

from __future__ import annotations

import json
import lzma
import re
from pathlib import Path

import numpy as np
import pytest

from dcp.figures.paper.results import read_results
from dcp.model.dial import end_share_at
from dcp.model.registry import BUNDLED, OpenModel, open_model, shift_for
from dcp.runs.recorder import record
from dcp.runs.rescore import check
from dcp.trace import Trace

ASSETS = BUNDLED.parent
MEGABYTE = 1_000_000


@pytest.fixture(scope="module")
def model() -> OpenModel:
    return open_model("dcp-mini")


def samples() -> list[Path]:
    return sorted((ASSETS / "traces").glob("*.safetensors"))


def test_files_are_small_enough_to_be_shipped() -> None:
    weights = [*BUNDLED.rglob("*.safetensors")]
    assert sum(path.stat().st_size for path in weights) <= 32 * MEGABYTE
    everything = [path for path in ASSETS.rglob("*") if path.is_file()]
    assert max(path.stat().st_size for path in everything) <= 9 * MEGABYTE


def test_the_dial_is_in_order_and_reaches_from_30_to_90_percent(model: OpenModel) -> None:
    points = sorted(model.info.calibration, key=lambda point: point.delta)
    assert {point.context for point in points} == {model.info.context}
    sparsity = [point.sparsity for point in points]
    assert sparsity == sorted(sparsity, reverse=True)
    assert sparsity[0] >= 0.9
    assert sparsity[-1] <= 0.3
    assert all(0.9 < point.perplexity_ratio < 2 for point in points)
    shifts = [shift_for(points, wanted) for wanted in (0.3, 0.5, 0.7, 0.8, 0.9)]
    assert shifts == sorted(shifts, reverse=True)


def test_the_dial_turns_a_text_as_it_says(model: OpenModel) -> None:
    text = Trace.load(samples()[0]).text
    dropped = [
        record(text, model=model, new_tokens=0, sparsity=wanted).sparsity_at_end()
        for wanted in (0.3, 0.6, 0.9)
    ]
    assert dropped == sorted(dropped)
    # A text of a few hundred tokens drops less at its end than the calibration's windows do.
    assert dropped[0] < 0.45
    assert dropped[2] > 0.75


def test_the_dial_expects_about_what_texts_of_any_length_dropped(model: OpenModel) -> None:
    """What the pages say before a text is read: the card's measured ends, and each bundled text."""
    shares = model.info.shares
    assert shares is not None
    card = (model.info.path / "README.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| ([+−]?[\d.]+) \| [\d.]+ % \| ([\d.]+) % \|", card, re.M)
    assert len(rows) == len(model.info.calibration)
    for delta, end in rows:
        found = end_share_at(shares, float(delta.replace("−", "-")), model.info.context)
        assert found == pytest.approx(float(end) / 100, abs=0.022), delta
    traces = [Trace.load(path) for path in (ASSETS / "traces").rglob("*.safetensors")]
    traces = [t for t in traces if t.meta.weights_sha256 == model.loaded.weights_sha256]
    traces = [t for t in traces if t.meta.gate_shift == 0 and not t.meta.gates_off]
    assert len(traces) >= 10
    off = [abs(end_share_at(shares, 0.0, t.n_queries) - t.sparsity_at_end()) for t in traces]
    assert np.mean(off) < 0.06
    assert max(off) < 0.15


@pytest.mark.parametrize("path", samples(), ids=lambda path: path.stem)
def test_samples_were_made_by_these_weights(path: Path, model: OpenModel) -> None:
    trace = Trace.load(path)
    check(model, trace)
    prompt = trace.meta.prompt_tokens
    text = trace.text[: int(trace.offsets[prompt - 1, 1])]
    again = record(
        text,
        model=model,
        new_tokens=trace.tokens - prompt,
        seed=trace.meta.seed,
        **trace.meta.sampling.to_json(),
    )
    read = slice(0, prompt)
    assert np.array_equal(again.token_ids[read], trace.token_ids[read])
    # Near ties may fall otherwise on another processor: |z| inside the float budget.
    differ = (again.death != trace.death)[:, read] & (trace.death[:, read] < prompt)
    assert differ.mean() < 0.001


def test_measured_results_are_of_these_weights(model: OpenModel) -> None:
    # The other bundled model is an adapter: its sample tells which weights they make, and its
    # configuration which the base's are, under whose name nothing is dropped.
    other = "smollm2-135m"
    sample = Trace.load(ASSETS / "traces" / other / "sample.safetensors")
    config = json.loads((ASSETS / "models" / other / "dcp_config.json").read_text("utf-8"))
    found = [row for file in (ASSETS / "results").glob("*.json") for row in read_results(file).rows]
    weights = {
        (model.info.name, True): model.loaded.weights_sha256,
        (other, True): sample.meta.weights_sha256,
        (other, False): config["base"]["sha256"],
    }
    seen = set()
    for row in found:
        if row["model"] != "dense twin":
            # A policy by itself names no gate shift, and runs on the gates' weights all the same.
            gated = row["gate_shift"] is not None or "policy" in row or row["model"] != other
            seen.add((row["model"], gated))
            assert row["weights_sha256"] == weights[row["model"], gated]
    assert seen == weights.keys()
    study = json.loads((ASSETS / "traces" / "study.json").read_text(encoding="utf-8"))
    assert study["about"]["weights_sha256"] == model.loaded.weights_sha256
    assert study["about"]["words"] >= 200_000
    packed = (ASSETS / "traces" / f"{other}.study.json.xz").read_bytes()
    theirs = json.loads(lzma.decompress(packed))
    assert theirs["about"]["weights_sha256"] == weights[other, True]
    assert f"{theirs['about']['words']:,} words" in (
        ASSETS.parent / "docs" / "results.md"
    ).read_text(encoding="utf-8")

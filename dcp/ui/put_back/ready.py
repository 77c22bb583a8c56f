"""An answer that is there when "Put it back" opens: one token of the sample, measured beforehand.

``assets/put_back/example.json`` holds the `Effect` and the two continuations,
``MODEL.example.json`` those of a model that has samples of its own. Make it with
``python -m dcp.ui.put_back.ready [MODEL]``: it reads the sample with each dropped token of more
than two letters put back in all layers, and takes the one that changes later words most, over the
band of ordinary drops: an example of how much a drop can do, not of how much drops do.
"""

from __future__ import annotations

import json
import sys
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from dcp.resources import asset
from dcp.runs.effects import Effect, Rewritten
from dcp.runs.plans import Controls, Plan, put_back
from dcp.trace import ALIVE, Trace
from dcp.ui.samples import load_sample, sample_names

__all__ = ["Example", "example"]

_FOLDER = asset("put_back")
_CANDIDATES = 2


@dataclass(frozen=True, eq=False)
class Example:
    """What was asked, with which seed, and what came of it."""

    effect: Effect
    seed: int
    rewritten: Rewritten


def example(trace: Trace) -> Example | None:
    """The example, where ``trace`` is the sample that it was measured on."""
    found = next((each for each in map(_read, _files()) if each and _is_of(each[0], trace)), None)
    if found is None:
        return None
    ready = found[1]
    plan = ready.effect.plan
    return ready if plan == put_back(trace, plan.token) else None


def _files() -> list[Path]:
    return sorted([*_FOLDER.glob("example.json"), *_FOLDER.glob("*.example.json")])


def _is_of(of: dict[str, Any], trace: Trace) -> bool:
    same = of["weights_sha256"] == trace.meta.weights_sha256 and trace.tokens == of["tokens"]
    return bool(same and of["ids"] == trace.token_ids.tolist())


@lru_cache(maxsize=4)
def _read(file: Path) -> tuple[dict[str, Any], Example] | None:
    try:
        data = json.loads(file.read_text(encoding="utf-8"))
        controls = data["controls"]
        effect = Effect(
            _plan(data["plan"]),
            np.array([np.nan if x is None else x for x in data["change"]], np.float32),
            Controls(
                tuple(map(_plan, controls["plans"])),
                controls["shared"],
                controls["ratio"],
                controls["horizon"],
            ),
            np.array(data["control_change"], np.float32),
        )
        written = data["rewritten"]
        two = Rewritten(written["start"], tuple(written["as_was"]), tuple(written["changed"]))
        return data["of"], Example(effect, data["seed"], two)
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _plan(data: dict[str, Any]) -> Plan:
    return Plan(data["kind"], data["token"], tuple(data["layers"]), tuple(data["steps"]))


def _measure(model_name: str | None) -> None:
    from dcp.model.registry import open_model
    from dcp.runs.reader import Reader
    from dcp.runs.rescore import effect
    from dcp.runs.rewrite import rewrite

    trace, _ = load_sample(sample_names(model_name)[0])
    model = open_model(trace.meta.model)
    pieces = trace.pieces()
    tokens = [
        j
        for j in np.flatnonzero((trace.death != ALIVE).any(axis=0)).tolist()
        if j > 0 and len(pieces[j].strip()) > 2 and put_back(trace, j).later(trace) >= 32
    ]
    plans = [put_back(trace, j) for j in tokens]
    deaths = [trace.death, *(plan.deaths(trace).death for plan in plans)]
    recorded, *scores = Reader(model, trace).scores(deaths)
    size = [
        abs(float((score - recorded)[(plan.first or 0) + 1 :][:32].sum()))
        for plan, score in zip(plans, scores, strict=True)
    ]
    best = None
    for i in np.argsort(size)[::-1][:_CANDIDATES]:
        found = effect(model, trace, plans[i])
        two = rewrite(model, trace, plans[i])
        print(pieces[tokens[i]], f"{found.total:+.2f}", found.as_large, two.apart)
        # Clear of ordinary drops, and something else is said.
        score = (found.as_large, two.apart is None, -abs(found.total))
        if best is None or score < best[0]:
            best = (score, found, two)
    assert best is not None
    _, found, two = best
    rounded = np.round(found.change.astype(float), 5)
    data = {
        "of": {
            "weights_sha256": trace.meta.weights_sha256,
            "tokens": trace.tokens,
            "ids": trace.token_ids.tolist(),
        },
        "seed": 0,
        "plan": asdict(found.plan),
        "change": [None if np.isnan(x) else float(x) for x in rounded],
        "controls": {**asdict(found.controls)},
        "control_change": np.round(found.control_change.astype(float), 5).tolist(),
        "rewritten": asdict(two),
    }
    name = f"{model_name}.example.json" if model_name else "example.json"
    (_FOLDER / name).write_text(json.dumps(data, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    _measure(next(iter(sys.argv[1:]), None))

"""Evictions whose budget is shared out among the layers as the gates share theirs.

    python -m benchmarks.rivals --work runs/rivals --windows 8 --choose 4 --context 1024 \\
        --gate-shift 0 -1.6 1.8 --attention entries --file valid-*.txt.xz --out rivals.json

Stronger rivals than `dcp eval --policies` has, chosen on other documents than those reported
(``--choose`` windows of each file): how the layers share a budget (the gates' shares there, or
these drawn half or a quarter of the way to equal ones), whether to keep first tokens and how many.
The total is what the gates hold on the windows reported, or as many bytes. Rules that look at
attention get the gates' shares. All run on the pruned weights with the gates off.

A few windows at a time; each part is a file in ``--work``, so a stopped run goes on. The results
hold what each document cost (`benchmarks.rival_rows`): every ratio and interval follows from them.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache, partial
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from benchmarks.rival_rows import Arm, Setting, row_of
from dcp.evaluate.parts import Arrays, Parts
from dcp.evaluate.rivals import Equal, Rival, budget_of, entries_for, ruled
from dcp.evaluate.score import score
from dcp.evaluate.windows import Windows, read_windows
from dcp.model.masked import MaskedAttend
from dcp.model.registry import OpenModel, open_model
from dcp.policies.budget import TOLERANCE
from dcp.policies.registry import policy_of

# Windows at a time; what goes step by step does so for more of them at hardly more cost.
_PART, _LARGE_PART = 4, 9
_POWERS = (1.0, 0.75, 0.5)
_PLAIN = (
    Rival("window"),
    *(Rival("sink", settings=(("sinks", n),)) for n in (1, 4, 16)),
    Rival("strided"),
)
# SnapKV's window of 32 is more than the gates hold in some layers.
_WATCHING = (
    Rival("h2o", "as gates"),
    Rival("tova", "as gates"),
    Rival("snapkv", "as gates", settings=(("window", 8),)),
)

Floats = npt.NDArray[np.float64]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default=None)
    parser.add_argument("--file", type=Path, nargs="+", required=True)
    parser.add_argument("--windows", type=int, default=8, help="a file, spread evenly")
    parser.add_argument("--choose", type=int, default=4, help="windows a file to choose rivals on")
    parser.add_argument(
        "--few", action="store_true",
        help="fewer candidates: none or four first tokens, the gates' shares and these to the ¾",
    )  # fmt: skip
    parser.add_argument("--context", type=int, default=1024)
    parser.add_argument("--gate-shift", type=float, nargs="+", default=[0.0])
    parser.add_argument(
        "--attention", nargs="*", choices=("entries", "bytes", "bytes16"), default=[],
        help="what H2O, TOVA and SnapKV are to hold as much of; each takes minutes",
    )  # fmt: skip
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    args.work.mkdir(parents=True, exist_ok=True)
    model = open_model(args.model)
    reported, choosing, source = _text(model, args)
    rows = []
    for shift in args.gate_shift:
        bench = Setting(shift, reported, choosing, source)
        rows.append(_measured(model, bench, _candidates(args.few), args.attention, args.work))
        args.out.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")


def _text(model: OpenModel, args: Any) -> tuple[Windows, Windows, npt.NDArray[np.str_]]:
    """Windows to report, windows of other documents to choose on, and the first ones' sources."""
    reported, others, source = [], [], []
    for file in args.file:
        mine = read_windows(file, model.tokenizer, args.context, limit=args.windows)
        every = read_windows(file, model.tokenizer, args.context)
        free = np.flatnonzero(~np.isin(every.documents, mine.documents))
        spread = np.linspace(0, len(free) - 1, min(args.choose, len(free))).astype(int)
        reported.append(mine)
        if len(spread):
            others.append(every.some(free[spread]))
        source += [file.name.split(".")[0]] * len(mine.ids)
    return Windows.join(reported), Windows.join(others), np.array(source)


def _candidates(few: bool) -> tuple[list[Arm], list[Arm]]:
    """Those with the same budget for all layers, and those whose layers share."""
    plain = [r for r in _PLAIN if not few or dict(r.settings).get("sinks", 4) == 4]
    shared = [replace(r, layers="as gates") for r in plain if r.policy != "strided"]
    powers = _POWERS[:2] if few else _POWERS
    return [Arm(r) for r in plain], [Arm(r, power) for r, power in product(shared, powers)]


def _measured(
    model: OpenModel,
    bench: Setting,
    kinds: tuple[list[Arm], list[Arm]],
    attention: Sequence[Equal],
    work: Path,
) -> dict[str, Any]:
    shift = bench.shift
    there = _held(model, bench.choosing, shift, work, "choose")
    here = _held(model, bench.reported, shift, work, "report")
    shares = there.mean(axis=1)

    def budgets(arms: Sequence[Arm], held: Floats) -> list[npt.NDArray[np.int64]]:
        """Shares of the layers from the choosing text, the total from ``held``."""
        found = []
        for arm in arms:
            wanted = shares**arm.power * (held.mean() / (shares**arm.power).mean())
            spread = np.repeat(wanted[:, None], held.shape[1], axis=1)
            found.append(budget_of(arm.rival, spread, entries_for(model.loaded, arm.rival.equal)))
        return found

    candidates = [*kinds[0], *kinds[1]]
    tried = budgets(candidates, there)
    on_choosing = _beside(model, bench.choosing, shift, candidates, tried, work, "choose")
    nats = on_choosing["nats"][2:].sum(axis=1)
    ratio = on_choosing["entries"][2:] / on_choosing["entries"][1]
    # Strides come in few sizes; what holds more than the gates is no rival at equal entries.
    cost = np.where(np.abs(ratio - 1) <= TOLERANCE, nats, np.inf)
    at = len(kinds[0])
    equal, shared = kinds[0][int(cost[:at].argmin())], kinds[1][int(cost[at:].argmin())]
    plain = Arm(Rival("window", "as gates"))
    arms = list(dict.fromkeys([equal, plain, shared]))
    arms += [
        replace(shared, rival=replace(shared.rival, equal=more)) for more in ("bytes", "bytes16")
    ]
    found = _beside(model, bench.reported, shift, arms, budgets(arms, here), work, "report")
    for equals, rival in product(attention, _WATCHING):
        arm = Arm(replace(rival, equal=equals))
        more = _beside(
            model, bench.reported, shift, [arm], budgets([arm], here), work,
            f"report-{rival.policy}-{equals}",
        )  # fmt: skip
        found = {name: np.concatenate([found[name], more[name][2:]]) for name in found}
        arms.append(arm)
    chosen = [
        {**arm.to_json(), "held_ratio": float(held), "nats": float(sum_)}
        for arm, held, sum_ in zip(candidates, ratio, nats, strict=True)
    ]
    return row_of(model, bench, arms, budgets(arms, here), found, chosen)


def _held(model: OpenModel, windows: Windows, shift: float, work: Path, what: str) -> Floats:
    """[L, C]: entries that the gates hold at each step, mean over windows."""

    def scored(some: Windows) -> Arrays:
        return {"held": score(model.loaded, some, lambda: MaskedAttend(shift)).held}

    every = [some for _, some in windows.parts(_PART)]
    held = [
        Parts(work).arrays(f"{what}-{shift:g}-gates-{number}.npz", partial(scored, some))["held"]
        for number, some in enumerate(every)
    ]
    return np.average(held, axis=0, weights=[len(some.ids) for some in every])


def _beside(
    model: OpenModel,
    windows: Windows,
    shift: float,
    arms: Sequence[Arm],
    budgets: Sequence[npt.NDArray[np.int64]],
    work: Path,
    what: str,
) -> dict[str, Any]:
    """nats [2 + A, N] of: gates off, the gates, each arm; entries [2 + A]."""
    watching = any(policy_of(arm.rival.policy).needs for arm in arms)

    def scored(some: Windows) -> Arrays:
        ways: list[Any] = [MaskedAttend(prune=False), MaskedAttend(shift)]
        ways += [_way(arm, b, len(some.ids)) for arm, b in zip(arms, budgets, strict=True)]
        # An adapter may change its base where the gates decide, and nowhere else.
        bodies = [model.loaded.dense, model.loaded] + [model.loaded.dense] * len(arms)
        every = [
            score(body, some, partial(_itself, way), len(some.ids))
            for body, way in zip(bodies, ways, strict=True)
        ]
        return {
            "nats": np.stack([one.nats for one in every]),
            "entries": np.array([one.entries for one in every]),
        }

    parts = [
        Parts(work).arrays(f"{what}-{shift:g}-beside-{number}.npz", partial(scored, some))
        for number, (_, some) in enumerate(windows.parts(_LARGE_PART if watching else _PART))
    ]
    sizes = [part["nats"].shape[1] for part in parts]
    return {
        "nats": np.concatenate([part["nats"] for part in parts], axis=1),
        "entries": np.average([part["entries"] for part in parts], axis=0, weights=sizes),
    }


def _itself(way: Any) -> Any:
    return way


def _way(arm: Arm, budget: npt.NDArray[np.int64], batch: int) -> Any:
    if policy_of(arm.rival.policy).needs:
        return ruled(arm.rival, budget)(batch)
    return MaskedAttend(deaths=torch.from_numpy(_deaths(arm.rival, budget.tobytes(), budget.shape)))


@lru_cache(maxsize=64)
def _deaths(rival: Rival, budget: bytes, shape: tuple[int, int]) -> npt.NDArray[np.int32]:
    """[L, T]: of a rule that looks at nothing, so that they are the same for every text."""
    rule = ruled(rival, np.frombuffer(budget, np.int64).reshape(shape))(1)
    nothing = torch.zeros(1, shape[1], 1, 1)
    for layer in range(shape[0]):
        rule(layer, nothing, nothing, nothing, None)
    return np.asarray(rule.deaths[:, 0].numpy())


if __name__ == "__main__":
    main()

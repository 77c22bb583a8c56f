"""A real model as its context and batch grow: dense beside shares dropped, in all kinds of weights.

A text is read once for each share, by the first kind of weights; at each context the rows of all
arms are copies of what that reading holds by then (what lies in a row does not change what it
costs). Drops are scattered by order, so that the shares are the same at every context; with 0 % the
gates decide, shifted until they keep everything. In a budget of bytes each arm has as many rows as
fit: rows are alike, so the peak of one says how many.
"""

from __future__ import annotations

from collections.abc import Sequence

from dcp.bench.arms import GREEDY, keeping, scattered
from dcp.bench.group import Member, Ours, Row, Timing, measure, resident
from dcp.bench.harness import Arm
from dcp.engine.engine import Engine, Run
from dcp.errors import RequestError
from dcp.model.registry import OpenModel
from dcp.progress import Progress, in_parts, silent

__all__ = ["context_groups"]


_CHUNK = 128


class _Reading:
    """A text being read with a share of its tokens dropped (None: dense), rows kept as ``kept``."""

    def __init__(
        self, engine: Engine, ids: Sequence[int], share: float | None, kept: str | None
    ) -> None:
        self.share, self.kept, self._read = share, kept, 0
        layers = engine.model.config.layers
        self.deaths = scattered(layers, len(ids), share) if share else None
        self.run = self.begin(engine, [ids], new_tokens=0)

    @property
    def name(self) -> str:
        return _name(self.share, self.kept)

    def begin(self, engine: Engine, prompts: Sequence[Sequence[int]], new_tokens: int) -> Run:
        """A run in which as many die."""
        return engine.run(
            prompts,
            new_tokens=new_tokens,
            sampling=GREEDY,
            prune=self.share is not None,
            gate_shift=keeping(self.share),
            deaths=[self.deaths] * len(prompts),
            score_prompt=False,
            chunk=_CHUNK,
            kv_dtype=self.kept,
        )

    def go_to(self, tokens: int) -> None:
        """Read whole chunks up to ``tokens``."""
        while self._read + _CHUNK <= tokens:
            self._read = next(self.run).rows[0].queries


def context_groups(
    models: Sequence[OpenModel],
    text: str,
    *,
    contexts: Sequence[int],
    batches: Sequence[int],
    dropped: Sequence[float],
    timing: Timing,
    kv_dtypes: Sequence[str | None] = (None,),
    budgets: Sequence[int] = (),
    impl: str = "auto",
    progress: Progress = silent,
) -> list[Row]:
    """A group for each of ``contexts`` (tokens at the last step) and ``batches`` (rows at once).

    One more for each of ``budgets`` (bytes of cache): there each arm has as many rows as fit.

    models     the same model in several kinds of weights, as they are to be compared
    dropped    shares of the tokens that die within 32 steps; a dense arm is always there
    kv_dtypes  how keys and values are kept, None as the model makes them; all of them are measured

    Dense arms are measured against the dense arm of the first model and first type, the others
    against their own dense arm. Budgets need 1 among the batches. Raises RequestError for a context
    that is too long, or too short to measure, and for a budget that one row does not fit into.
    """
    info, least = models[0].info, timing.total + 2
    for context in contexts:
        if not least < context <= info.context:
            raise RequestError(
                f"context {context} cannot be measured: {info.name} has {info.context} tokens, "
                f"and the steps take {least}"
            )
    if budgets and 1 not in batches:
        raise RequestError("a budget needs batch 1 too: one row says how many fit")
    longest = max(contexts)
    ids = models[0].tokenizer.encode(text).ids.tolist()
    ids = (ids * (longest // len(ids) + 1))[:longest]
    engines = [Engine(model.loaded, impl) for model in models]
    readings = [
        _Reading(engines[0], ids, share, kept) for kept in kv_dtypes for share in (None, *dropped)
    ]
    first = f"{readings[0].name} {models[0].dtype}"
    begin = in_parts(progress, len(contexts) * (len(readings) + len(batches) + len(budgets)))
    rows: list[Row] = []
    for context in sorted(contexts):
        start = context - timing.total - 1
        for reading in readings:
            begin(f"{info.name}, {reading.name}: reading {start} tokens")
            reading.go_to(start - 1)
        arms = [(m, e, r) for m, e in zip(models, engines, strict=True) for r in readings]
        peaks: list[int] = []
        for batch in batches:
            begin(f"batch {batch}, context {context}: arms take turns")
            members = [_member(*arm, [ids[:start]] * batch, timing, first) for arm in arms]
            found = measure(members, info.name, context, timing)
            if batch == 1:
                peaks = [row.kv_bytes_peak or 0 for row in found]
            rows += found
        for budget in budgets:
            fit = [budget // peak for peak in peaks]
            begin(f"{budget:,} bytes, context {context}: batches of {', '.join(map(str, fit))}")
            if not all(fit):
                raise RequestError(f"a budget of {budget:,} bytes holds no row of {max(peaks):,}")
            members = [
                _member(*arm, [ids[:start]] * batch, timing, first)
                for arm, batch in zip(arms, fit, strict=True)
            ]
            rows += measure(members, info.name, context, timing, budget)
    return rows


def _name(share: float | None, kept: str | None) -> str:
    name = "dense" if share is None else f"{share:.0%} dropped"
    return name if kept is None else f"{name}, {kept} rows"


def _member(
    model: OpenModel, engine: Engine, reading: _Reading, prompts: Sequence[Sequence[int]],
    timing: Timing, first: str,
) -> Member:  # fmt: skip
    """Rows that read the rest of ``prompts`` and stand ready; ``first`` names the first arm."""
    before = resident()
    run = reading.begin(engine, prompts, timing.total + 1)
    run.take(reading.run)
    ours = Ours(run, engine, reading.share is not None, before)
    name, dense = f"{reading.name} {model.dtype}", f"{_name(None, reading.kept)} {model.dtype}"
    against = dense if name != dense else first
    arm = Arm(name, ours.step, None if against == name else against)
    return Member(arm, model.dtype, engine.impl, ours, len(prompts))

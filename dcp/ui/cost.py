"""The Cost page: what dropping saves on this run, computed at once and measured on demand.

The measurement waits in the worker's line like any run and belongs to the trace that it read.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import streamlit as st

from dcp.cost import Computed, Measured, batch_within, computed, table
from dcp.errors import DcpError
from dcp.models import ModelInfo, list_models
from dcp.trace import Trace
from dcp.ui import cost_charts, services
from dcp.ui.cost_words import BUDGETS, COMPUTED, MEASURED, about, crossing, size
from dcp.ui.follow import follow
from dcp.ui.links import point
from dcp.ui.look import empty
from dcp.ui.session import Session
from dcp.ui.settings import Settings
from dcp.ui.task import Report, Task

if TYPE_CHECKING:
    from dcp.models import OpenModel

__all__ = ["cost"]

_EVERY = 1.0
_ROUNDS = {"quick": 3, "usual": 7, "careful": 15}
_CHART = {"displayModeBar": False, "responsive": True}
_WIDTHS = {"float32": 4, "bfloat16": 2, "float16": 2, "int8": 1}


@dataclass
class Asked:
    """A measurement of the trace called ``shown``; ``found`` grows by a round at a time."""

    shown: str
    task: Task[Measured | None] | None = None
    found: list[Measured] = field(default_factory=list)


def cost(session: Session, limits: Settings) -> None:
    """All of the page below its title."""
    if session.job is not None:
        st.fragment(_running, run_every=_EVERY)(session)
        return
    trace = session.trace
    if trace is None:
        empty("There is no run to weigh yet.", "Generate one, or open a saved trace.")
        return
    asked = _asked(session)
    measured = asked.found[-1] if asked.found else None
    found = computed(trace)
    _tiles(trace, found, measured)
    _memory(session, trace, found, measured)
    _time(session, trace, asked, limits)
    _batch(trace, found, measured)
    _explain(trace, measured)


def _asked(session: Session) -> Asked:
    asked = st.session_state.get("cost asked")
    if not isinstance(asked, Asked) or asked.shown != session.shown:
        if isinstance(asked, Asked) and asked.task is not None:
            asked.task.cancel()
        asked = Asked(session.shown)
        st.session_state["cost asked"] = asked
    return asked


def _running(session: Session) -> None:
    """The memory of a run that is on, a look a second."""
    if session.job is None:
        st.rerun()
        return
    status = session.job.status()
    if status.settled:
        session.end(status)
        st.rerun()
    if status.trace is None:
        empty("The run is about to begin.", "Its memory is drawn here while it writes.")
        return
    trace, found = status.trace, computed(status.trace)
    _tiles(trace, found, None, held=getattr(status.counters, "kv_bytes_held", None))
    planned = trace.prompt_tokens + session.planned
    figure = cost_charts.memory_chart(
        found, prompt=trace.prompt_tokens, planned=planned, step=trace.n_queries - 1
    )
    st.plotly_chart(figure, key="cost-live", config=_CHART, alt=_alt(found))
    st.caption("The run is on: times and batches follow when it has ended.")


def _tiles(
    trace: Trace, found: Computed, measured: Measured | None, held: int | None = None
) -> None:
    live, dense = int(found.live()[:, -1].sum()), int(found.dense()[-1])
    memory, rate = trace.meta["memory"], trace.meta.get("tokens_per_second")
    counts = size if found.entry_bytes else "{:,} entries".format
    held = memory["kv_bytes_held"] if held is None else held
    one, two, three, four = st.columns(4)
    one.metric(
        "Live at the end · computed",
        counts(live),
        f"{100 * live / dense:.0f} % of {counts(dense)} dense",
        delta_color="off",
        delta_arrow="off",
        border=True,
    )
    two.metric(
        "Held at the end · measured",
        size(held),
        "counted by the cache during the run",
        delta_color="off",
        delta_arrow="off",
        border=True,
    )
    if measured is None:
        known = isinstance(rate, int | float) and rate > 0
        three.metric(
            "Speed of the run · measured",
            f"{rate:,.0f} tok/s" if known else "not timed",
            "alone, with no dense run beside it",
            delta_color="off",
            delta_arrow="off",
            border=True,
        )
    else:
        slow, usual, fast = measured.speed_up()
        three.metric(
            "Speed against dense · measured",
            f"{usual:.2f}×",
            f"{slow:.2f}× to {fast:.2f}× (p20 to p80)",
            delta_color="off",
            delta_arrow="off",
            border=True,
        )
    four.metric(
        "Crossover · measured",
        "not yet" if measured is None else crossing(measured),
        "from here on a step is faster than dense",
        delta_color="off",
        delta_arrow="off",
        border=True,
    )


def _memory(session: Session, trace: Trace, found: Computed, measured: Measured | None) -> None:
    st.subheader("Memory")
    last = trace.n_queries - 1
    step = session.step if session.step is not None and session.step <= last else last
    if last > 0:
        step = st.slider(
            "Step",
            0,
            last,
            step,
            key=f"cost-step-{session.shown}",
            help="The step that the layers below are drawn at; the same on every page.",
        )
        if step != session.step and (session.step is not None or step != last):
            point(session, step=step)
    wide, side = st.columns([1.9, 1])
    figure = cost_charts.memory_chart(
        found, prompt=trace.prompt_tokens, planned=trace.n_queries, step=step, measured=measured
    )
    wide.plotly_chart(figure, key="cost-memory", config=_CHART, alt=_alt(found))
    live = found.entries[:, step]
    side.plotly_chart(
        cost_charts.layer_chart(found, step),
        key="cost-layers",
        config=_CHART,
        alt=f"Entries held at step {step}, layer by layer: {', '.join(map(str, live.tolist()))}.",
    )


def _alt(found: Computed) -> str:
    live, dense = found.live().sum(axis=0), found.dense()
    return (
        f"Memory at each of {len(dense)} steps: at the last one {int(live[-1]):,} of "
        f"{int(dense[-1]):,} {'bytes' if found.entry_bytes else 'entries'} are live."
    )


def _time(session: Session, trace: Trace, asked: Asked, limits: Settings) -> None:
    st.subheader("Time")
    name, why = _model_of(session, trace)
    task = asked.task
    busy = task is not None and task.status().active
    one, two = st.columns([1, 2.4], vertical_alignment="bottom")
    pace = two.segmented_control(
        "Rounds", list(_ROUNDS), default="usual", key="cost-rounds", bind="query-params",
        format_func=lambda pace: f"{pace}, {_ROUNDS[pace]} rounds", disabled=busy,
    )  # fmt: skip
    one.button(
        "Measure beside a dense run",
        type="primary",
        key="cost-measure",
        disabled=busy or bool(why),
        on_click=_measure,
        args=(session, asked, trace, name, _ROUNDS[pace or "usual"], limits),
        width="stretch",
        help="Reads these tokens again, pruned and dense in turn, on this machine.",
    )
    if why:
        st.caption(why)
    if task is not None:
        follow(task, "cost")
    measured = asked.found[-1] if asked.found else None
    st.plotly_chart(
        cost_charts.time_chart(
            trace,
            planned=trace.n_queries,
            measured=measured,
            crossover=measured.crossover() if measured else None,
        ),
        key="cost-time",
        config=_CHART,
        alt="Time of each step, pruned against dense." if measured else "Time of each step.",
    )
    if measured is not None:
        st.caption(_verdict(measured))
        st.caption(about(measured.about, measured.rounds))


def _verdict(found: Measured) -> str:
    end = f"Over the last {min(32, len(found.context))} steps a pruned step took "
    slow, usual, fast = (1 / rate for rate in found.speed_up(last=32))
    over = 1 / found.speed_up("kept")[1]
    ties = (
        f" {found.differs} of the deaths differ from the run: gate logits near zero."
        if found.differs
        else " Every death is the one of the run."
    )
    return (
        f"{end}{usual:.2f}× the time of a dense one ({fast:.2f}× to {slow:.2f}×); asking the gates "
        f"and dropping nothing took {over:.2f}×. Crossover: {crossing(found)}. Bytes allow "
        f"{found.ceiling():.2f}× the dense speed at most (computed).{ties}"
    )


def _model_of(session: Session, trace: Trace) -> tuple[str | None, str]:
    """The model that can read this trace again, or one line that says why there is none.

    A file may name any folder or any host's checkpoint: only what is bundled, or what was chosen
    here by hand, is opened.
    """
    if session.origin == "run":
        return session.model, ""
    name = str(trace.meta["model"])
    if name in {info.name for info in _bundled()}:
        return name, ""
    return None, (
        "This run was made by a model that is not bundled here, so it cannot be measured beside a "
        "dense one: choose that model on the first page and generate again."
    )


def _bundled() -> list[ModelInfo]:
    try:
        return list_models()
    except DcpError:
        return []


def _measure(
    session: Session,
    asked: Asked,
    trace: Trace,
    model: str | None,
    rounds: int,
    limits: Settings,
) -> None:
    asked.found.clear()

    def work(opened: OpenModel, report: Report) -> Measured | None:
        from dcp.measure import measure

        return measure(
            opened,
            trace,
            rounds=rounds,
            tell=report.progress,
            leave=report.cancelled,
            each=asked.found.append,
        )

    asked.task = services.ask(session.owner, model, work, limits)


def _batch(trace: Trace, found: Computed, measured: Measured | None) -> None:
    st.subheader("Sequences in a memory budget")
    if not found.entry_bytes:
        st.caption("This trace does not say how many bytes an entry takes.")
        return
    weights, told = _weights(trace, measured)
    budget = st.select_slider(
        "Budget", BUDGETS, 2**30, format_func=size, key="budget", bind="query-params"
    )
    tokens = trace.tokens
    dense = int(trace.layers * tokens * found.entry_bytes)
    pruned = measured.peak["pruned"] if measured else int(trace.meta["memory"]["kv_bytes_peak"])
    ours, theirs = (batch_within(budget, weights, peak) for peak in (pruned, dense))
    one, two, words = st.columns([1, 1, 2])
    ratio = f"{ours / theirs:.2f}× as many" if theirs else "dense fits none"
    one.metric("Pruned", f"{ours:,}", ratio, delta_color="off", delta_arrow="off", border=True)
    two.metric(
        "Dense", f"{theirs:,}", f"of {tokens:,} tokens each", delta_color="off",
        delta_arrow="off", border=True,
    )  # fmt: skip
    words.markdown(
        f"⌊({size(budget)} − {size(weights)} of weights) ÷ {size(pruned)}⌋ = **{ours:,}** pruned, "
        f"with the peak that one sequence like this one held (measured).\n\n"
        f"⌊({size(budget)} − {size(weights)}) ÷ {size(dense)}⌋ = **{theirs:,}** dense, with "
        f"2 · L · T · H_kv · d · bytes and no slack (computed, in favour of dense). {told}"
    )


def _weights(trace: Trace, measured: Measured | None) -> tuple[int, str]:
    if measured is not None:
        return measured.weights, ""
    of = {info.name: info.parameters for info in _bundled()}
    parameters = of.get(str(trace.meta["model"]))
    if parameters is None:
        return 0, "The size of this model's weights is not known here and counts as nothing."
    return parameters * _WIDTHS.get(str(trace.meta["dtype"]), 4), ""


def _explain(trace: Trace, measured: Measured | None) -> None:
    left, right = st.columns([4, 1], vertical_alignment="top")
    with left.expander("What was computed, what was measured"):
        st.markdown(COMPUTED + MEASURED)
        st.caption(
            f"The run: {trace.meta['impl']} on {trace.meta['device']}, {trace.meta['dtype']}."
        )
    right.download_button(
        "CSV",
        lambda: table(trace, measured).encode(),
        "cost.csv",
        "text/csv",
        key="cost-csv",
        on_click="ignore",
        width="stretch",
        help="One row per step; each column says whether it was computed or measured.",
    )

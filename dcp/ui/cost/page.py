"""The Cost page: what dropping saves on this run, computed at once and measured on demand."""

from __future__ import annotations

import streamlit as st

from dcp.figures.screen import cost as cost_charts
from dcp.stats.cost import Computed, Measured, computed, cost_csv
from dcp.trace import Trace
from dcp.trace.amounts import kept_in, percent, size
from dcp.ui.cost.batch import batch_section
from dcp.ui.cost.time import measured_so_far, time_section
from dcp.ui.cost.words import COMPUTED, MEASURED, crossing, kernels
from dcp.ui.follow import follow_run
from dcp.ui.links import point
from dcp.ui.look import empty
from dcp.ui.session import Session
from dcp.ui.settings import Settings
from dcp.ui.tiles import Tile
from dcp.ui.tiles import tiles as row_of_tiles

__all__ = ["cost"]

_EVERY = 1.0
_CHART = {"displayModeBar": False, "responsive": True}
_CROSSING = "context from which it is faster"


def cost(session: Session, limits: Settings) -> None:
    """All of the page below its title."""
    if session.work.job is not None:
        st.fragment(_running, run_every=_EVERY)(session)
        return
    trace = session.shown.trace
    if trace is None:
        empty("There is no run to weigh yet.", "Generate one, or open a saved trace.")
        return
    if trace.n_queries == 0:
        empty("This trace has no step yet.", "Generate a run, or open another trace.")
        return
    measured = measured_so_far(session)
    found = computed(trace)
    _tiles(trace, found, measured)
    _memory(session, trace, found, measured)
    time_section(session, trace, limits)
    batch_section(trace, found, measured)
    _explain(trace, measured)


def _running(session: Session) -> None:
    """The memory of the run that is on, updated each second."""
    status = follow_run(session)
    if status.trace is None:
        empty("The run is about to begin.", "Its memory is drawn here while it writes.")
        return
    trace, found = status.trace, computed(status.trace)
    _tiles(trace, found, None, held=getattr(status.counters, "kv_bytes_held", None))
    planned = trace.prompt_tokens + session.work.planned
    figure = cost_charts.memory_chart(
        found, prompt=trace.prompt_tokens, planned=planned, step=trace.n_queries - 1
    )
    st.plotly_chart(figure, key="cost-live", config=_CHART, alt=_alt(found))
    st.caption("The run is on: times and batches follow when it has ended.")


def _tiles(
    trace: Trace, found: Computed, measured: Measured | None, held: int | None = None
) -> None:
    live, dense = int(found.live()[:, -1].sum()), int(found.dense()[-1])
    memory, rate = trace.meta.memory, trace.meta.tokens_per_second
    counts = size if found.entry_bytes else "{:,} entries".format
    held = memory.held if held is None else held
    found_tiles: list[Tile] = [
        (
            "Live at the end · computed",
            counts(live),
            f"{percent(live / dense)} of {counts(dense)} dense",
        ),
        ("Allocated at the end · measured", size(held), "counted by the cache during the run"),
    ]
    if measured is None:
        known = isinstance(rate, int | float) and rate > 0
        value = f"{rate:,.0f} tok/s" if known else "not timed"
        found_tiles.append(("Speed of the run · measured", value, "alone, no dense run beside it"))
        found_tiles.append(("Crossover · measured", "not measured", _CROSSING))
    else:
        slow, usual, fast = measured.speed_up()
        span = f"{slow:.2f}× to {fast:.2f}× (p20 to p80)"
        found_tiles.append(("Speed against dense · measured", f"{usual:.2f}×", span))
        found_at = crossing(measured)
        found_tiles.append(("Crossover · measured", found_at, _CROSSING))
    row_of_tiles(found_tiles, "cost")


def _memory(session: Session, trace: Trace, found: Computed, measured: Measured | None) -> None:
    st.header("Memory")
    last = trace.n_queries - 1
    chosen = session.place.step
    step = chosen if chosen is not None and chosen <= last else last
    if last > 0:
        step = st.slider(
            "Step",
            0,
            last,
            step,
            key=f"cost-step-{session.shown.key}",
            help="The step that the layers below are drawn at; the same on every page.",
        )
        if step != chosen and (chosen is not None or step != last):
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


def _explain(trace: Trace, measured: Measured | None) -> None:
    left, right = st.columns([4, 1], vertical_alignment="top")
    with left.expander("What was computed, what was measured"):
        st.markdown(COMPUTED + MEASURED)
        meta = trace.meta
        kept = kept_in(meta.kv_dtype) or "keys and values as the model makes them"
        st.caption(f"The run: {kernels(meta.impl, meta.device)}, {meta.dtype}, {kept}.")
    right.download_button(
        "CSV",
        lambda: cost_csv(trace, measured).encode(),
        "cost.csv",
        "text/csv",
        key="cost-csv",
        on_click="ignore",
        width="stretch",
        help="One row per step; each column says whether it was computed or measured.",
    )

"""The Time section of the Cost page: a measurement in the worker, round by round."""

from __future__ import annotations

from typing import TYPE_CHECKING

import streamlit as st

from dcp.figures.screen import cost as cost_charts
from dcp.stats.cost import Measured, timed_steps
from dcp.trace import Trace
from dcp.ui import services
from dcp.ui.asked import Asked, ask, last_asked
from dcp.ui.cost.words import about, crossing
from dcp.ui.follow import follow_task
from dcp.ui.session import Session
from dcp.ui.settings import Settings
from dcp.ui.task import Report

if TYPE_CHECKING:
    from dcp.model.registry import OpenModel

__all__ = ["measured_so_far", "time_section"]

_EVERY = 1.0
_ROUNDS_OF = "cost-rounds-of"
_ROUNDS = {"quick": 3, "usual": 7, "careful": 15}
_CHART = {"displayModeBar": False, "responsive": True}


def time_section(session: Session, trace: Trace, limits: Settings) -> None:
    """Step times of the run; beside those of a dense run once they are measured."""
    st.header("Time")
    maker = services.maker_of(session, trace)
    asked: Asked[Measured | None] | None = last_asked("cost", session.shown.key)
    busy = asked is not None and asked.waiting
    one, two = st.columns([1, 2.4], vertical_alignment="bottom")
    pace = two.segmented_control(
        "Rounds", list(_ROUNDS), default="usual", key="cost-rounds", bind="query-params",
        format_func=lambda pace: f"{pace}, {_ROUNDS[pace]} rounds", disabled=busy,
    )  # fmt: skip
    one.button(
        "Measure beside a dense run",
        type="primary",
        key="cost-measure",
        disabled=busy or not maker.known,
        on_click=_measure,
        args=(session, trace, maker.name, _ROUNDS[pace or "usual"], limits),
        width="stretch",
        help="Reads these tokens again, pruned and dense in turn, on this machine.",
    )
    if not maker.known:
        st.caption(
            "This run was made by a model that is not bundled here, so it cannot be measured "
            "beside a dense one: choose that model on the first page and generate again."
        )
    if asked is not None:
        follow_task(asked.task, "cost")
    st.fragment(_chart, run_every=_EVERY if busy else None)(session, trace)


def _chart(session: Session, trace: Trace) -> None:
    """The curves of the rounds so far."""
    measured = measured_so_far(session)
    if measured is None and not len(timed_steps(trace)):
        st.caption("No step of this run was timed: a measurement draws its curves here.")
        return
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


def measured_so_far(session: Session) -> Measured | None:
    """The complete rounds of the shown trace's measurement; None before the first."""
    key, rounds = st.session_state.get(_ROUNDS_OF, ("", []))
    return rounds[-1] if key == session.shown.key and rounds else None


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


def _measure(
    session: Session, trace: Trace, model: str | None, rounds: int, limits: Settings
) -> None:
    found: list[Measured] = []
    st.session_state[_ROUNDS_OF] = (session.shown.key, found)

    def work(opened: OpenModel, report: Report) -> Measured | None:
        from dcp.bench.beside import measure

        for measured in measure(
            opened, trace, rounds=rounds, progress=report.progress, cancel=report.cancelled
        ):
            found.append(measured)
        return found[-1] if found else None

    ask(session, limits, "cost", session.shown.key, work, model)

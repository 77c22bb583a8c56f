"""The Time section of the Cost page: a measurement, how far it is, and what it found.

It waits in the worker's line like any run, belongs to the trace that it read, and grows by a round
at a time.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import streamlit as st

from dcp.figures.screen import cost as cost_charts
from dcp.stats.cost import Measured
from dcp.trace import Trace
from dcp.ui import services
from dcp.ui.cost.batch import bundled
from dcp.ui.cost.words import about, crossing
from dcp.ui.follow import follow
from dcp.ui.session import Session
from dcp.ui.settings import Settings
from dcp.ui.task import Report, Task

if TYPE_CHECKING:
    from dcp.model.registry import OpenModel

__all__ = ["Asked", "asked_of", "time_section"]

_EVERY = 1.0
_ROUNDS = {"quick": 3, "usual": 7, "careful": 15}
_CHART = {"displayModeBar": False, "responsive": True}


@dataclass
class Asked:
    """A measurement of the trace called ``shown``; ``found`` grows by a round at a time."""

    shown: str
    task: Task[Measured | None] | None = None
    found: list[Measured] = field(default_factory=list)


def time_section(session: Session, trace: Trace, asked: Asked, limits: Settings) -> None:
    """Step times: of the run itself, and beside a dense one once that was measured."""
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
    st.fragment(_chart, run_every=_EVERY if busy else None)(trace, asked)


def _chart(trace: Trace, asked: Asked) -> None:
    """The curves so far: a measurement adds a round at a time."""
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


def asked_of(session: Session) -> Asked:
    """What was measured of the trace that is shown; that of another trace is stopped and left."""
    asked = st.session_state.get("cost asked")
    if not isinstance(asked, Asked) or asked.shown != session.shown:
        if isinstance(asked, Asked) and asked.task is not None:
            asked.task.cancel()
        asked = Asked(session.shown)
        st.session_state["cost asked"] = asked
    return asked


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
    if name in {info.name for info in bundled()}:
        return name, ""
    return None, (
        "This run was made by a model that is not bundled here, so it cannot be measured beside a "
        "dense one: choose that model on the first page and generate again."
    )


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
        from dcp.bench.beside import measure

        for found in measure(
            opened, trace, rounds=rounds, progress=report.progress, cancel=report.cancelled
        ):
            asked.found.append(found)
        return asked.found[-1] if asked.found else None

    asked.task = services.ask(session.owner, model, work, limits)

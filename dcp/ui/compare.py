"""The widgets of "Compare": choose what A and B are, and let the model read what is missing.

A is a run that exists. B is one too, or A's own tokens read again with other gates or by another
model, or another text. The model reads in the worker.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import streamlit as st

from dcp.compare import Pair
from dcp.errors import DcpError, RequestError, TraceError
from dcp.models import ModelInfo, list_models
from dcp.trace import Trace
from dcp.ui import services
from dcp.ui.compare_view import compared
from dcp.ui.follow import follow
from dcp.ui.look import problem
from dcp.ui.samples import load_sample, sample_names
from dcp.ui.session import Session
from dcp.ui.settings import Settings
from dcp.ui.task import Report, Task

if TYPE_CHECKING:
    from dcp.models import OpenModel

__all__ = ["compare"]

THIS, UPLOAD = "this run", "a saved trace"
OFF, DIAL, MODEL, TEXT = (
    "A's tokens, gates off",
    "A's tokens, another sparsity",
    "A's text, another model",
    "another text, same model",
)

Read = Callable[["OpenModel", Trace, Report], Trace]


@dataclass(frozen=True)
class _Choice:
    """What B is: a trace, or a way to read one by ``model`` (None: A's own).

    name  says it on the page; ``key`` tells it from all others
    """

    name: str
    key: str
    trace: Trace | None = None
    read: Read | None = None
    model: str | None = None


@dataclass(frozen=True)
class _Asked:
    """A reading on its way, or done, of these two."""

    key: tuple[str, str]
    task: Task[Pair]


def compare(session: Session, limits: Settings) -> None:
    """The whole page under its title."""
    left, right = st.columns(2)
    with left:
        found = _existing("A", [THIS, *_samples(), UPLOAD], session, limits)
    if found is None:
        return
    name_a, a = found
    with right:
        b = _other(session, limits, a)
    if b is None:
        return
    key = (f"{name_a} {id(a)}", b.key)
    asked: _Asked | None = st.session_state.get("compare-asked")
    current = asked if asked is not None and asked.key == key else None
    label = "Read it" if b.trace is None else "Measure KL and lost attention of both"
    if st.button(label, type="primary" if b.trace is None else "secondary", key="compare-go"):
        model = b.model if b.trace is None and b.model else _model_of(session, a)
        task = services.ask(session.owner, model, _work(session, a, b, limits), limits)
        current = _Asked(key, task)
        st.session_state["compare-asked"] = current
    pair = follow(current.task, "compare") if current is not None else None
    if pair is None and b.trace is not None:
        pair = Pair(a, b.trace)
    if pair is not None:
        compared(pair, (name_a, b.name), "|".join(key))
    elif current is None:
        st.caption("The model reads A's text again, token by token as it stands: about a second.")


def _work(
    session: Session, a: Trace, b: _Choice, limits: Settings
) -> Callable[[OpenModel, Report], Pair]:
    name_a = _model_of(session, a)

    def read(model: OpenModel, report: Report) -> Pair:
        from dcp.models import open_model
        from dcp.rescore import divergence, gates_off

        report.progress(0.1, "Reading.")
        other = b.trace if b.read is None else b.read(model, a, report)
        assert other is not None
        report.check()
        report.progress(0.5, "Reading again with the gates off.")
        models = {"a": model, "b": model}
        if b.model:
            # Its name was checked where A was chosen: a bundled model or the session's own.
            models["a"] = open_model(name_a)
        filled = {}
        for name, trace in (("a", a), ("b", other)):
            try:
                filled[name] = gates_off(models[name], trace)
            except RequestError:
                # Weights that are not here: what the trace itself says is compared.
                filled[name] = trace
            report.check()
        report.progress(0.8, "Comparing predictions.")
        try:
            kl = divergence(models["a"], a, models["b"], other)
        except RequestError:
            kl = None
        return Pair(filled["a"], filled["b"], kl)

    return read


def _model_of(session: Session, trace: Trace) -> str | None:
    """The name to open A's model by; a file's word counts only where it names a bundled model."""
    if trace is session.trace:
        return services.model_of(session)
    name = str(trace.meta["model"])
    return name if name in {model.name for model in _models()} else None


def _models() -> list[ModelInfo]:
    try:
        return list_models()
    except DcpError:
        return []


def _samples() -> list[str]:
    return [f"sample “{name}”" for name in sample_names()]


def _existing(
    letter: str, options: list[str], session: Session, limits: Settings
) -> tuple[str, Trace] | None:
    """A trace that exists, chosen in a box, and what to call it."""
    if session.trace is None:
        options = [option for option in options if option != THIS]
    chosen = st.selectbox(letter, options, key=f"compare-{letter.lower()}")
    return _open(letter, chosen, session, limits)


def _open(letter: str, chosen: str, session: Session, limits: Settings) -> tuple[str, Trace] | None:
    if chosen == THIS:
        return None if session.trace is None else (THIS, session.trace)
    if chosen == UPLOAD:
        return _upload(letter, limits)
    try:
        return chosen, _sample(chosen.removeprefix("sample “").removesuffix("”"))
    except DcpError as error:
        problem(str(error))
        return None


@st.cache_resource(max_entries=4, show_spinner=False)
def _sample(name: str) -> Trace:
    return load_sample(name)[0]


def _upload(letter: str, limits: Settings) -> tuple[str, Trace] | None:
    key = f"compare-file-{letter.lower()}"
    file = st.file_uploader(
        f"Trace file for {letter} (.safetensors)",
        type=["safetensors"],
        key=key,
        max_upload_size=limits.upload_mib,
    )
    if file is None:
        return None
    kept = st.session_state.get(f"{key}-trace")
    if kept is not None and kept[0] == file.file_id:
        return f"saved trace {letter}", kept[1]
    try:
        if file.size > limits.upload_mib * 2**20:
            raise TraceError(f"the file is larger than {limits.upload_mib} MiB, the limit here")
        trace = Trace.from_bytes(file.getvalue())
    except DcpError as error:
        problem(str(error))
        return None
    st.session_state[f"{key}-trace"] = (file.file_id, trace)
    return f"saved trace {letter}", trace


def _other(session: Session, limits: Settings, a: Trace) -> _Choice | None:
    """What B is."""
    known = [THIS, *_samples(), UPLOAD] if session.trace is not None else [*_samples(), UPLOAD]
    options = [OFF, DIAL, TEXT, *([MODEL] if len(_models()) > 1 or not limits.public else [])]
    chosen = st.selectbox("B", [*options, *known], key="compare-b")
    if chosen == OFF:
        return _Choice("A's tokens, gates off", "off", read=_replayed(None))
    if chosen == DIAL:
        return _dial(session, a)
    if chosen == TEXT:
        return _text(limits)
    if chosen == MODEL:
        return _model(limits)
    found = _open("B", chosen, session, limits)
    return None if found is None else _Choice(found[0], f"{found[0]} {id(found[1])}", found[1])


def _dial(session: Session, a: Trace) -> _Choice:
    name = str(a.meta["model"])
    info = next((model for model in _models() if model.name == name), None)
    points = info.calibration if info else ()
    longest = max((point.context for point in points), default=0)
    expected = {p.delta: p.sparsity for p in points if p.context == longest}
    here = float(a.meta["gate_shift"])
    others = [shift for shift in sorted(expected, key=expected.__getitem__) if shift != here]
    if not others:
        shift = st.number_input("Gate shift δ: below 0 drops more", -20.0, 20.0, here - 1.0, 0.5)
    else:
        shift = st.select_slider(
            "Share of earlier tokens dropped, on validation text",
            others,
            value=others[-1],
            format_func=lambda delta: f"{100 * expected[delta]:.0f} %",
            key="compare-dial",
        )
    return _Choice(f"A's tokens at δ {shift:+g}", f"dial {shift}", read=_replayed(float(shift)))


def _text(limits: Settings) -> _Choice | None:
    text = st.text_area("Another text", key="compare-text", height=110)
    if not text.strip():
        st.caption("Type or paste a text: it is only read, nothing is written.")
        return None
    if len(text) > limits.characters:
        problem(f"The text has {len(text):,} characters; {limits.characters:,} are read here.")
        return None
    return _Choice("another text, same model", f"text {text}", read=_recorded(text))


def _model(limits: Settings) -> _Choice | None:
    name = st.selectbox(
        "The other model",
        [model.name for model in _models()],
        index=None,
        key="compare-model",
        accept_new_options=not limits.public,
        placeholder="choose a model" if limits.public else "a model, a folder or a Hub id",
    )
    if not name:
        return None

    def read(model: OpenModel, a: Trace, report: Report) -> Trace:
        try:
            return _replayed(0.0, same=False)(model, a, report)
        except RequestError:
            # Its tokens are other ones: the text is what both can read.
            return _recorded(a.text, 0.0)(model, a, report)

    return _Choice(f"A's text read by {name}", f"model {name}", read=read, model=name)


def _replayed(shift: float | None, same: bool = True) -> Read:
    """A's own tokens at a gate shift; None turns the gates off. ``same``: by A's weights alone."""

    def read(model: OpenModel, a: Trace, report: Report) -> Trace:
        from dcp.replay import replay
        from dcp.rescore import check

        if same:
            check(model, a)
        return replay(
            model, a, gate_shift=shift or 0.0, prune=shift is not None, cancel=report.cancelled
        )

    return read


def _recorded(text: str, shift: float | None = None) -> Read:
    """A text as it stands, at A's gate shift or this one."""

    def read(model: OpenModel, a: Trace, report: Report) -> Trace:
        from dcp.recorder import record

        delta = float(a.meta["gate_shift"]) if shift is None else shift
        return record(text, model=model, new_tokens=0, gate_shift=delta)

    return read

"""Which two runs to compare: the boxes of A and B. Opens no model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import streamlit as st

from dcp.errors import DcpError, RequestError
from dcp.policies.registry import POLICIES
from dcp.trace import Trace
from dcp.ui.compare.readings import Read, recorded, replayed, rounded
from dcp.ui.compare.ready import CHOICES, ready
from dcp.ui.dial import positions
from dcp.ui.explore.kept import AS_MADE, NAMES
from dcp.ui.home import home_name
from dcp.ui.look import problem
from dcp.ui.samples import load_sample, sample_names
from dcp.ui.services import models
from dcp.ui.session import Session
from dcp.ui.settings import Settings
from dcp.ui.task import Report
from dcp.ui.upload import uploaded_trace
from dcp.viewer.label import is_ruled

if TYPE_CHECKING:
    from dcp.model.registry import OpenModel

__all__ = ["Choice", "first", "other"]

THIS, UPLOAD = "this run", "a saved trace"
OFF, POLICY, ASK, WRITE, DIAL, KEPT, MODEL, TEXT = (
    "A's tokens, gates off",
    "A's tokens, other policies",
    "A's tokens, kept for a question",
    "both written on, live",
    "A's tokens, another sparsity",
    "A's tokens, keys and values in other bits",
    "A's text, another model",
    "another text, same model",
)

_USUAL = ("window", "sink", "h2o", "snapkv")


@dataclass(frozen=True)
class Choice:
    """What B is: a trace, or a way to read one by ``model`` (None: A's own).

    name      as the page says it; ``key`` is unique
    policies  those that A's tokens are to be read under, where that is what B is
    question  what A's tokens are to be read for, where that is what B is
    written   A's given text is written on twice, with the gates and with nothing dropped
    """

    name: str
    key: str
    trace: Trace | None = None
    read: Read | None = None
    model: str | None = None
    policies: tuple[str, ...] = ()
    question: str = ""
    written: bool = False


def first(session: Session, limits: Settings) -> tuple[str, Trace] | None:
    """The box of A: a trace and its name."""
    return _open("A", st.selectbox("A", _known(session), key="compare-a"), session, limits)


def _known(session: Session) -> list[str]:
    """Names of the traces that can be chosen."""
    names = dict.fromkeys([*sample_names(home_name()), *sample_names()])
    samples = [f"sample “{name}”" for name in names]
    return [*([THIS] if session.shown.trace is not None else []), *samples, UPLOAD]


def _open(letter: str, chosen: str, session: Session, limits: Settings) -> tuple[str, Trace] | None:
    if chosen == THIS:
        return None if session.shown.trace is None else (THIS, session.shown.trace)
    if chosen == UPLOAD:
        label = f"Trace file for {letter} (.safetensors)"
        found = uploaded_trace(label, f"compare-file-{letter.lower()}", limits)
        if found is None or found.trace is None:
            return None
        return f"saved trace {letter}", found.trace
    try:
        return chosen, _sample(chosen.removeprefix("sample “").removesuffix("”"))
    except DcpError as error:
        problem(str(error))
        return None


@st.cache_resource(max_entries=4, show_spinner=False)
def _sample(name: str) -> Trace:
    return load_sample(name)[0]


def other(session: Session, limits: Settings, a: Trace) -> Choice | None:
    """The box of B."""
    options = [
        OFF,
        POLICY,
        ASK,
        WRITE,
        DIAL,
        *([] if is_ruled(a.meta) or a.meta.gates_off else [KEPT]),
        TEXT,
        *([MODEL] if len(models()) > 1 or not limits.public else []),
    ]
    chosen = st.selectbox("B", [*options, *_known(session)], key="compare-b")
    if chosen == OFF:
        return Choice("A's tokens, gates off", "off", read=replayed(None))
    if chosen == POLICY:
        return _policies(a)
    if chosen == ASK:
        return _question(limits)
    if chosen == WRITE:
        return Choice("nothing dropped", "write", written=True)
    if chosen == DIAL:
        return _dial(session, a)
    if chosen == KEPT:
        return _kept(a)
    if chosen == TEXT:
        return _text(limits)
    if chosen == MODEL:
        return _model(limits)
    found = _open("B", chosen, session, limits)
    return None if found is None else Choice(found[0], f"{found[0]} {id(found[1])}", found[1])


def _policies(a: Trace) -> Choice | None:
    whole = ready(a) is not None
    mine = a.meta.policy or "gates"
    offered = [name for name in ("gates", *CHOICES) if name != mine]
    named = st.multiselect(
        "Policies, each at A's number of entries",
        offered,
        default=offered if whole else [n for n in ("gates", *_USUAL) if n in offered],
        format_func=lambda name: POLICIES[name].title,
        key=f"compare-policies-{whole}",
        help="Each drops by its own rule in the same engine, holding as many entries as A.",
    )
    if not named:
        st.caption("Choose at least one.")
        return None
    return Choice("other policies", f"policies {','.join(named)}", policies=tuple(named))


def _question(limits: Settings) -> Choice | None:
    question = st.text_input(
        "A question about A's text", key="compare-question", max_chars=limits.characters,
        placeholder="Who was the first keeper?",
        help="Rules that hear a question (CItruS) keep what it attends to. It is read at the end "
        "of the text and votes; it leaves no entries of its own, and is not answered here.",
    )  # fmt: skip
    if not question.strip():
        st.caption("Type a question: what is kept for it is shown beside what A keeps.")
        return None
    return Choice("kept for a question", f"question {question}", question=question)


def _dial(session: Session, a: Trace) -> Choice:
    name = a.meta.model
    info = next((model for model in models() if model.name == name), None)
    here = a.meta.gate_shift
    at = {p.shift: p for p in positions(info, a.n_queries) if p.shift != here}
    if not at:
        shift = st.number_input("Gate shift δ: below 0 drops more", -20.0, 20.0, here - 1.0, 0.5)
    else:
        shift = st.select_slider(
            f"Share dropped of a text of {next(iter(at.values())).length:,} tokens",
            list(at),
            value=list(at)[-1],
            format_func=lambda shift: f"about {100 * at[shift].expected:.0f} %",
            key="compare-dial",
            help="On validation text; this one may drop another share.",
        )
    return Choice(f"A's tokens at δ {shift:+g}", f"dial {shift}", read=replayed(float(shift)))


def _kept(a: Trace) -> Choice:
    offered = [name for name in NAMES if name != (a.meta.kv_dtype or AS_MADE)]
    chosen = st.selectbox(
        "B keeps them",
        offered,
        index=len(offered) - 1,
        format_func=NAMES.__getitem__,
        key="compare-kept",
        help="The same tokens and the same gates; what a layer drops moves only where rounded keys "
        "and values move its input.",
    )
    kept = None if chosen == AS_MADE else chosen
    return Choice(f"A's tokens, kept {NAMES[chosen]}", f"kept {chosen}", read=rounded(kept))


def _text(limits: Settings) -> Choice | None:
    text = st.text_area("Another text", key="compare-text", height=110)
    if not text.strip():
        st.caption("Type or paste a text: it is only read, nothing is written.")
        return None
    if len(text) > limits.characters:
        problem(f"The text has {len(text):,} characters; {limits.characters:,} are read here.")
        return None
    return Choice("another text, same model", f"text {text}", read=recorded(text))


def _model(limits: Settings) -> Choice | None:
    name = st.selectbox(
        "The other model",
        [model.name for model in models()],
        index=None,
        key="compare-model",
        accept_new_options=not limits.public,
        placeholder="choose a model" if limits.public else "a model, a folder or a Hub id",
    )
    if not name:
        return None

    def read(model: OpenModel, a: Trace, report: Report) -> Trace:
        try:
            return replayed(0.0, same=False)(model, a, report)
        except RequestError:
            # Another tokenizer: both can still read the same text.
            return recorded(a.text, 0.0)(model, a, report)

    return Choice(f"A's text read by {name}", f"model {name}", read=read, model=name)

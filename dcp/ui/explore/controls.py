"""The upper half of the page: text, its token count, the settings of a run, Generate and Stop."""

from __future__ import annotations

import streamlit as st

from dcp.errors import DcpError, RequestError
from dcp.model.registry import ModelInfo, list_models
from dcp.runs.request import TextRequest
from dcp.ui.explore.count_line import LABEL, count_line, named, token_count
from dcp.ui.explore.examples import EXAMPLES
from dcp.ui.look import problem, worded
from dcp.ui.services import worker
from dcp.ui.session import Session
from dcp.ui.settings import Settings

__all__ = ["controls"]

_HINTS = {
    "text": "type some, or choose an example",
    "truncate": "use the last tokens (the button above), or ask for fewer new ones",
}


def controls(session: Session, limits: Settings) -> None:
    """Draw the form; on Generate, check the request and put it in the line."""
    state = st.session_state
    if "text" not in state:
        asked = st.query_params.get("preset", "")
        if asked and asked not in EXAMPLES:
            st.toast("There is no such example: the link was followed in part.")
        state["text"] = EXAMPLES.get(asked, EXAMPLES["A lighthouse"])
    state.setdefault("latest", state["text"])
    state.setdefault("new_tokens", min(64, limits.new_tokens))
    models = _models()
    st.pills(
        "Begin with an example",
        list(EXAMPLES),
        key="preset",
        on_change=_take_example,
        label_visibility="collapsed",
        bind="query-params",
    )
    st.text_area(
        LABEL,
        key="text",
        height=132,
        on_change=_take_text,
        label_visibility="collapsed",
        persist_state="session",
    )
    count_line(models, limits)
    _settings(models, limits)
    active = session.work.job is not None
    with st.container(horizontal=True):
        st.button(
            "Generate",
            type="primary",
            key="generate",
            disabled=active,
            width=160,
            on_click=_generate,
            args=(session, limits),
        )
        st.button(
            "Stop", key="stop", disabled=not active, width=100, on_click=_stop, args=(session,)
        )
    # Always there: a message that comes and goes would shift the widgets below it.
    with st.container():
        if session.error:
            problem(session.error)


def _generate(session: Session, limits: Settings) -> None:
    session.error = ""
    try:
        request = _check(limits)
    except DcpError as error:
        session.error = worded(error, _HINTS)
    else:
        session.begin(worker(limits).submit(session.owner, request), request)


def _stop(session: Session) -> None:
    if session.work.job is not None:
        session.work.job.cancel()


def _models() -> list[ModelInfo]:
    try:
        return list_models()
    except DcpError as error:
        problem(str(error))
        return []


def _take_example() -> None:
    chosen = st.session_state["preset"]
    if chosen is not None:
        st.session_state["text"] = st.session_state["latest"] = EXAMPLES[chosen]


def _take_text() -> None:
    st.session_state["latest"] = st.session_state["text"]


def _settings(models: list[ModelInfo], limits: Settings) -> None:
    """The row of settings; their values are in the session's state."""
    state = st.session_state
    columns = st.columns([1.5, 1, 1.6, 1.2, 0.8], vertical_alignment="bottom")
    model = columns[0].selectbox(
        "Model",
        [model.name for model in models],
        key="model",
        accept_new_options=not limits.public,
        placeholder="no model is bundled here" if not models else "choose a model",
        persist_state="session",
        help="A pruned language model that comes with the app."
        if limits.public
        else "A bundled model; or type a checkpoint folder or a Hugging Face Hub id.",
    )
    info = named(models, model) if model else None
    most = min(limits.new_tokens, info.context - 1 if info else limits.new_tokens)
    if state.get("new_tokens") is None or state["new_tokens"] > most:
        state["new_tokens"] = min(64, most)
    columns[1].number_input(
        "New tokens",
        0,
        most,
        step=16,
        key="new_tokens",
        persist_state="session",
        help="How many tokens the model writes after yours. 0 only reads your text.",
    )
    with columns[2]:
        _dial(info)
    columns[3].slider(
        "Temperature",
        0.0,
        1.5,
        0.8,
        0.05,
        key="temperature",
        persist_state="session",
        help="How freely the next token is drawn; 0 always takes the most likely one.",
    )
    columns[4].number_input(
        "Seed",
        0,
        2**31 - 1,
        0,
        key="seed",
        persist_state="session",
        help="The same seed draws the same tokens again.",
    )


def _dial(info: ModelInfo | None) -> None:
    """The sparsity dial: the measured points of the checkpoint, each by its expected sparsity."""
    state = st.session_state
    points = info.calibration if info else ()
    longest = max((point.context for point in points), default=0)
    expected = {p.delta: p.sparsity for p in points if p.context == longest}
    cost = {p.delta: p.perplexity_ratio for p in points if p.context == longest}
    if len(expected) < 2:
        state["gate_shift"] = 0.0
        st.select_slider(
            "Forgetting",
            ["as trained"],
            key="dial_off",
            disabled=True,
            help="This model brings no calibration, so it runs as it was trained.",
        )
        return
    order = sorted(expected, key=lambda delta: expected[delta])
    own = min(order, key=abs)
    if state.get("gate_shift") not in expected:
        state["gate_shift"] = own

    def label(delta: float) -> str:
        return f"{100 * expected[delta]:.0f} % · perplexity × {cost[delta]:.2f}"

    st.select_slider(
        "Forgetting",
        order,
        format_func=label,
        key="gate_shift",
        persist_state="session",
        help="Share of earlier tokens dropped, and the perplexity it costs against a dense model "
        f"trained equally long, as measured on validation text with a context of {longest} tokens; "
        "shorter texts drop less. It shifts every gate by the same amount. The model comes with "
        f"{100 * expected[own]:.0f} %.",
    )


def _check(limits: Settings) -> TextRequest:
    """The request the form describes; raises RequestError in one line."""
    state = st.session_state
    text, model = str(state["text"]), state["model"]
    info = named(list_models(), model) if model else None
    request = TextRequest(
        text,
        model=model,
        new_tokens=state["new_tokens"],
        temperature=state["temperature"],
        seed=state["seed"],
        gate_shift=state.get("gate_shift", 0.0) if info is not None else 0.0,
    )
    if len(text) > limits.characters:
        raise RequestError(
            f"The text has {len(text):,} characters; at most {limits.characters:,} are read here."
        )
    if info is None and (limits.public or not model):
        raise RequestError("Choose one of the bundled models: there is none of that name here.")
    if info is not None:
        request.check_length(token_count(str(info.path), text), info.context)
    return request

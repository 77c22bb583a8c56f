"""Who drops in a run: the learned gates or a rule of the registry, how much it may hold, its knobs.

Every rule of `dcp.policies.registry` is offered, on a model without gates too. The values are in
the session's state under the keys here; a link fills them in as the widgets do. Opens no model.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import streamlit as st

from dcp.errors import DcpError
from dcp.model.checkpoint import Checkpoint
from dcp.model.registry import ModelInfo
from dcp.policies.registry import POLICIES, policy_of
from dcp.policies.rule import Policy, Value
from dcp.stats.policies import title_of
from dcp.ui.settings import Settings

__all__ = [
    "ENTRIES",
    "MARGIN",
    "SHIFT",
    "how_it_runs",
    "knob",
    "policy_choice",
    "policy_fields",
    "policy_line",
    "shifts_for_a_budget",
]

MARGIN, SHIFT = "drop the smallest margins too", "shift the gates instead"
ENTRIES, SHARE = "entries a layer", "a share dropped"
_USUAL = 64


def policy_choice(name: str | None, info: ModelInfo | None, limits: Settings) -> None:
    """Draw the choice for the model called ``name``; ``info`` where it is a bundled one."""
    state, offered = st.session_state, _offered(name, info, limits)
    if state.get("policy") not in offered:
        state["policy"] = offered[0]
    chosen = st.selectbox(
        "Who drops",
        offered,
        format_func=title_of,
        key="policy",
        persist_state="session",
        help="The gates that this model was trained with, or a rule from elsewhere, run in the "
        "same engine: it decides after each token what its layers let go.",
    )
    policy = policy_of(chosen)
    st.caption(_about(policy, info is None and "gates" not in offered))
    if policy.name == "gates":
        _gates_budget(info, limits)
    elif policy.budgeted:
        _rule_budget(policy, info, limits)
    _knobs(policy)


def _offered(name: str | None, info: ModelInfo | None, limits: Settings) -> list[str]:
    """The gates first; a folder without any has rules alone."""
    names = list(POLICIES)
    if info is not None or not name or limits.public:
        return names
    try:
        folder = Path(name).expanduser()
        bare = folder.is_dir() and not Checkpoint.read(folder).has_gates
    except (DcpError, OSError, ValueError):
        # What it is will be said when it is opened.
        return names
    return ["sink", *(n for n in names if n not in ("gates", "sink"))] if bare else names


def _about(policy: Policy, bare: bool) -> str:
    """Its rule in a line, its paper, where ours differs, and the road it takes."""
    parts = ["This model has no gates: a rule decides." if bare else ""]
    parts.append(f"{policy.rule[:1].upper()}{policy.rule[1:]}.")
    parts.append(f"{policy.paper}." if policy.paper else "")
    parts.append(f"Ours differs: {policy.differs}." if policy.differs else "")
    parts.append(how_it_runs(policy))
    return " ".join(part for part in parts if part)


def how_it_runs(policy: Policy) -> str:
    """The road that a run under it takes, where that is not the gates' own."""
    if policy.name in ("gates", "none"):
        return ""
    if "attention" in policy.needs or policy.instructed == "must":
        return (
            "It needs attention weights, which the gates' kernels do not give: PyTorch reads with "
            "them in the open on the CPU, the slow path."
        )
    return "It decides after each token: PyTorch reads row by row on the CPU, the slow path."


def _most(info: ModelInfo | None, limits: Settings) -> int:
    return info.context if info is not None else limits.characters


def _gates_budget(info: ModelInfo | None, limits: Settings) -> None:
    entries = st.number_input(
        "Hold at most (entries a layer)",
        1,
        _most(info, limits),
        None,
        key="gates budget",
        placeholder="no limit",
        persist_state="session",
        help="Empty: the gates alone decide. With a limit, either whoever came closest to being "
        "dropped goes too once a layer holds more; or the gates are shifted until they drop as "
        "large a share as that would, on validation text as long: then no step is limited.",
    )
    if entries:
        st.segmented_control(
            "Keep to it by", [MARGIN, SHIFT], default=MARGIN, key="gates by", required=True,
            persist_state="session",
        )  # fmt: skip


def _rule_budget(policy: Policy, info: ModelInfo | None, limits: Settings) -> None:
    state = st.session_state
    measure = ENTRIES
    # How many entries a share is, is found without reading: an instruction is read.
    if policy.instructed == "no":
        measure = st.segmented_control(
            "Hold", [ENTRIES, SHARE], default=ENTRIES, key="policy by", required=True,
            persist_state="session",
        )  # fmt: skip
    if measure == SHARE:
        state.setdefault("share", 70)
        st.slider(
            "Share of earlier tokens dropped, mean over steps", 5, 95, step=5, format="%d %%",
            key="share", persist_state="session",
        )  # fmt: skip
        return
    if not state.get("budget"):
        state["budget"] = _USUAL
    st.number_input(
        "At most so many entries a layer", 1, _most(info, limits), key="budget",
        persist_state="session", help="After each step, the token just read included.",
    )  # fmt: skip


def _knobs(policy: Policy) -> None:
    for key, usual in policy.settings.items():
        if key in policy.choices:
            continue
        name = knob(policy.name, key)
        if key == "instruction":
            label = "Instruction" + (" (may be empty)" if policy.instructed == "may" else "")
            st.text_area(
                label, key=name, height=68, persist_state="session",
                placeholder="Who was the first keeper?",
                help="What it attends to is kept. It is not read as part of the text: to have it "
                "answered, end the text with it too.",
            )  # fmt: skip
            continue
        st.session_state.setdefault(name, usual)
        low, high = policy.limits[key]
        label = key.capitalize()
        if isinstance(usual, float):
            st.number_input(
                label, float(low), float(high), step=0.05, key=name, persist_state="session"
            )
        else:
            st.number_input(label, int(low), int(high), step=1, key=name, persist_state="session")


def knob(policy: str, key: str) -> str:
    """Where a setting is kept; rules that hear an instruction share it."""
    return "instruction" if key == "instruction" else f"policy {policy} {key}"


def _chosen() -> Policy:
    name = st.session_state.get("policy", "gates")
    return POLICIES.get(name, POLICIES["gates"])


def shifts_for_a_budget() -> bool:
    """Whether the dial is taken by a budget."""
    state = st.session_state
    budgeted = _chosen().name == "gates" and bool(state.get("gates budget"))
    return budgeted and state.get("gates by") == SHIFT


def policy_fields(gate_shift: float) -> dict[str, Any]:
    """What of a `TextRequest` the choice decides; ``gate_shift`` is the dial's."""
    state, policy = st.session_state, _chosen()
    if policy.name == "gates":
        budget = state.get("gates budget") or None
        shifts = shifts_for_a_budget()
        return {
            "gate_shift": 0.0 if shifts else gate_shift,
            "budget": budget,
            "policy_settings": {"by": "shift" if shifts else "margin"},
        }
    settings: dict[str, Value] = {}
    for key, usual in policy.settings.items():
        value = state.get(knob(policy.name, key))
        settings[key] = usual if value is None else value
    found: dict[str, Any] = {"policy": policy.name, "policy_settings": settings}
    if policy.budgeted and state.get("policy by") == SHARE and policy.instructed == "no":
        return {**found, "sparsity": state.get("share", 70) / 100}
    return {**found, "budget": state.get("budget") or _USUAL} if policy.budgeted else found


def policy_line() -> str:
    """The choice in a few words, "" for the gates alone."""
    state, policy = st.session_state, _chosen()
    if policy.name == "gates":
        budget = state.get("gates budget")
        return f"at most {budget} entries a layer" if budget else ""
    if not policy.budgeted:
        return title_of(policy.name).lower()
    asked: Mapping[str, Any] = policy_fields(0.0)
    if "sparsity" in asked:
        return f"{policy.title}, {100 * asked['sparsity']:.0f} % dropped"
    return f"{policy.title}, at most {asked['budget']} entries a layer"

"""Who dropped, as a link says it; and a link's word taken into the form, checked.

    policy=h2o&budget=64&settings=recent=0.25    policy=citrus-shared&budget=64&instruction=Who?

A share is kept as the budget that it became: the link makes the same run. No widget is drawn here.
"""

from __future__ import annotations

from collections.abc import Mapping

import streamlit as st

from dcp.errors import RequestError
from dcp.policies.gates import by_shift
from dcp.policies.registry import POLICIES
from dcp.policies.rule import Policy, Value
from dcp.trace import Meta
from dcp.ui.explore.policy import ENTRIES, MARGIN, SHIFT, knob
from dcp.ui.links import number
from dcp.ui.settings import Settings

__all__ = ["policy_of_link", "shift_in_link", "take_policy"]

_LONGEST = 400


def policy_of_link(meta: Meta) -> dict[str, str] | None:
    """What a link says of who dropped; {} for the gates alone, None for a rule not known here."""
    if meta.policy is None:
        return {}
    policy = POLICIES.get(meta.policy)
    if policy is None:
        return None
    found = {"policy": policy.name}
    if meta.budget is not None:
        found["budget"] = str(meta.budget)
    given = {k: v for k, v in (meta.policy_settings or {}).items() if k in policy.settings}
    if given.get("instruction"):
        found["instruction"] = str(given["instruction"])
    changed = [
        f"{key}={value}"
        for key, value in given.items()
        if key != "instruction" and value != policy.settings[key]
    ]
    return found | ({"settings": ",".join(changed)} if changed else {})


def shift_in_link(meta: Meta) -> bool:
    """Whether the gate shift is to be said: one that a budget asked for follows from it."""
    return not by_shift(meta.policy or "", meta.policy_settings or {})


def take_policy(said: Mapping[str, str], most: int, limits: Settings) -> list[str]:
    """Fill the form's choice with what a link says, ``most`` the largest budget; what makes no
    sense is left at its default and named in what comes back."""
    state = st.session_state
    state["policy"], state["gates budget"], ignored = "gates", None, []
    policy = POLICIES.get(said.get("policy", "gates"))
    if policy is None:
        return ["policy"]
    state["policy"] = policy.name
    budget = number(said.get("budget", ""))
    fits = budget is not None and 1 <= budget <= most and policy.budgeted
    if "budget" in said and not fits:
        ignored.append("budget")
    settings = _settings(policy, said.get("settings", ""))
    if settings is None:
        ignored.append("settings")
    chosen = {**policy.settings, **(settings or {})}
    if policy.name == "gates":
        state["gates budget"] = budget if fits else None
        state["gates by"] = SHIFT if chosen["by"] == "shift" else MARGIN
        return ignored
    state["policy by"] = ENTRIES
    if fits:
        state["budget"] = budget
    for key, value in chosen.items():
        if key != "instruction":
            state[knob(policy.name, key)] = value
    instruction = said.get("instruction", "")
    if "instruction" in policy.settings:
        state[knob(policy.name, "instruction")] = instruction[: limits.characters]
    elif instruction:
        ignored.append("instruction")
    return ignored


def _settings(policy: Policy, said: str) -> dict[str, Value] | None:
    """The settings that a link names; None where they are none of this policy's."""
    found: dict[str, Value] = {}
    for each in said[:_LONGEST].split(",") if said else ():
        key, equals, value = each.partition("=")
        if not equals or key == "instruction":
            return None
        found[key] = value
    try:
        whole = policy.with_settings(found)
    except RequestError:
        return None
    return {key: whole[key] for key in found}

"""All policies by name. A new one is a file beside this, a line here and a name in `names`."""

from __future__ import annotations

from dcp.errors import RequestError
from dcp.policies import (
    citrus,
    gates,
    h2o,
    keynorm,
    none,
    random,
    sink,
    snapkv,
    strided,
    tova,
    window,
)
from dcp.policies.rule import Policy

__all__ = ["POLICIES", "policy_of"]

POLICIES: dict[str, Policy] = {
    policy.name: policy
    for policy in (
        gates.POLICY,
        none.POLICY,
        random.POLICY,
        window.OLDEST,
        window.POLICY,
        strided.POLICY,
        sink.POLICY,
        h2o.POLICY,
        tova.POLICY,
        snapkv.POLICY,
        keynorm.POLICY,
        citrus.POLICY,
        citrus.SHARED,
        citrus.INDIVIDUAL,
    )
}


def policy_of(name: str) -> Policy:
    """The policy called ``name``; RequestError names those there are."""
    if name not in POLICIES:
        raise RequestError(f"unknown policy {name!r}; use one of: {', '.join(POLICIES)}")
    return POLICIES[name]

"""Nothing is dropped: the dense model, as one more entry of the registry."""

from __future__ import annotations

from dcp.policies.rule import Bools, Policy, Rule, Seen

__all__ = ["POLICY", "KeepAll"]


class KeepAll(Rule):
    def after(self, layer: int, step: int, seen: Seen) -> Bools:
        return self.none(seen)

    def decides(self, step: int) -> bool:
        return False


POLICY = Policy(
    name="none",
    title="Dense",
    paper="",
    rule="keeps everything",
    make=lambda setup, settings: KeepAll(setup),
    budgeted=False,
)

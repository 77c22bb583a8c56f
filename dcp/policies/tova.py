"""TOVA: whoever the newest query attends to least goes, itself included.

Source: Oren et al., 2024, arXiv 2401.06104, section 3.2.
"""

from __future__ import annotations

from dcp.policies.rule import Bools, Policy, Rule, Seen, lowest

__all__ = ["POLICY", "LeastAttended"]


class LeastAttended(Rule):
    def after(self, layer: int, step: int, seen: Seen) -> Bools:
        assert seen.attention is not None
        return lowest(seen.attention, seen.alive, self.over(layer, step, seen.alive))


POLICY = Policy(
    name="tova",
    title="TOVA",
    paper="Oren et al., 2024, arXiv 2401.06104",
    rule="drops the entry that the newest query attends to least",
    needs=frozenset({"attention"}),
    make=lambda setup, settings: LeastAttended(setup),
)

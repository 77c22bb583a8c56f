"""The options that mend what the library complains of: a hint behind its message.

The library names a parameter (`dcp.errors.DcpError.remedy`); here it gets the name of its option.
"""

from __future__ import annotations

from collections.abc import Mapping

from dcp.errors import DcpError

__all__ = ["worded"]

_HINTS: Mapping[str, str] = {
    "text": "--text or --file",
    "truncate": "--truncate left or right",
    "gate_shift": "--gate-shift",
    "context": "--context",
    "packed": "--context or --packed",
    "device": "--device cpu",
    "span": "--span FIRST LAST",
    "width": "--width",
    "source": "--source both",
    "results": "--results FILE, from dcp eval or bench with --json",
    "gates_off": "dcp trace --gates-off",
    "gates": "dcp train prune --base, or --policy",
    "policy": "--policy",
    "base": "--base",
    "teacher": "--teacher, and distill in the settings",
    "resume": "--resume",
    "shards": "dcp train pack",
    "heads": "--heads",
    "study": "dcp study",
    "embed": "leave --embed out",
    "policies": "dcp trace --policy, once for each",
    "instruction": "dcp trace --instruction",
    "settled": "dcp calm --save",
}


def worded(error: DcpError) -> str:
    """What ``error`` says, and which option is for it."""
    hint = _HINTS.get(error.remedy)
    return f"{error} ({hint})" if hint else str(error)

"""What each value of a trace's meta may be: a test of it, and words for what it must be."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

__all__ = ["RULES", "Rule"]

_LINE = 1000
_MAX_DEPTH = 16
_LARGEST = 2**63
_WORD = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.:+-]{0,39}")
_HEX = re.compile(r"[0-9a-f]{1,64}")


@dataclass(frozen=True)
class Rule:
    """``holds(value)``, and ``says`` what the value must be."""

    holds: Callable[[Any], bool]
    says: str


def _optional(rule: Rule) -> Rule:
    """The rule, or None."""
    return Rule(lambda value: value is None or rule.holds(value), f"{rule.says}, or null")


def _count(least: int = 0) -> Rule:
    """Whole numbers of 64 bits from ``least`` on."""
    return Rule(
        lambda value: type(value) is int and least <= value < _LARGEST,
        f"a whole number of {least} or more",
    )


def _within(least: float, most: float, says: str) -> Rule:
    """Finite numbers from ``least`` to ``most``."""
    return Rule(lambda value: _is_number(value) and least <= value <= most, says)


def _one_of(*allowed: str) -> Rule:
    """One of these strings."""
    return Rule(
        lambda value: isinstance(value, str) and value in allowed, " or ".join(map(repr, allowed))
    )


def _is_number(value: Any) -> bool:
    return type(value) in (int, float) and abs(value) < _LARGEST


def _is_text(value: Any) -> bool:
    try:
        return isinstance(value, str) and value.encode() is not None
    except UnicodeEncodeError:
        return False


def _is_line(value: Any) -> bool:
    return isinstance(value, str) and len(value) <= _LINE and value.isprintable()


def _is_table_of_lines(value: Any) -> bool:
    return isinstance(value, Mapping) and all(map(_is_line, [*value, *value.values()]))


def _are_shares(value: Any) -> bool:
    return isinstance(value, tuple) and all(_is_number(x) and -1e-3 <= x <= 1.001 for x in value)


def _is_plain(value: Any, depth: int = _MAX_DEPTH) -> bool:
    """JSON: of bounded depth, with the integers that readers calculate with, without nan."""
    if isinstance(value, Mapping):
        inside: Any = value.values()
        if not all(map(_is_text, value)):
            return False
    elif isinstance(value, list):
        inside = value
    else:
        return value is None or isinstance(value, bool) or _is_number(value) or _is_text(value)
    return depth > 0 and all(_is_plain(each, depth - 1) for each in inside)


_TEXT = Rule(_is_text, "Unicode text without lone surrogates")
_NAME = Rule(_is_line, f"one printable line of at most {_LINE} characters")
_NAMES = Rule(_is_table_of_lines, "an object of printable lines")
_A_WORD = Rule(
    lambda value: isinstance(value, str) and bool(_WORD.fullmatch(value)),
    "one word of letters, digits and _ . : + -",
)
_A_HEX = Rule(
    lambda value: isinstance(value, str) and bool(_HEX.fullmatch(value)),
    "up to 64 hexadecimal digits in lower case",
)
_NUMBER = Rule(_is_number, "a finite number of 64 bits")
_FLAG = Rule(lambda value: type(value) is bool, "true or false")
_PLAIN = Rule(
    _is_plain,
    f"plain JSON, at most {_MAX_DEPTH} deep (nan, infinity and integers of more than 64 bits are "
    "none)",
)
_OBJECT = Rule(
    lambda value: isinstance(value, Mapping) and _is_plain(value), f"an object of {_PLAIN.says}"
)
_SHARES = Rule(_are_shares, "a list of shares, 0 to 1")

_TIME = _optional(_within(0, 2**63, "a number of 0 or more"))


def _a(kind: str) -> Rule:
    return Rule(lambda value: type(value).__name__ == kind, "an object")


RULES: Mapping[str, Mapping[str, Rule]] = {
    "Memory": {
        "other": _PLAIN,
        **{name: _count() for name in ("live", "held", "peak", "dense")},
        "row": _optional(_count(1)),
        "entry": _optional(_count(1)),
    },
    "SampledWith": {
        "other": _PLAIN,
        "temperature": _optional(_within(0, 2**63, "a number of 0 or more")),
        "top_k": _optional(_count()),
        "top_p": _optional(_within(0, 1, "a number from 0 to 1")),
    },
    "Replayed": {
        "other": _PLAIN,
        "model": _NAME,
        "weights_sha256": _A_HEX,
        "gate_shift": _NUMBER,
        "gates": _one_of("on", "off"),
    },
    "Meta": {
        "other": _PLAIN,
        "text": _TEXT,
        "prompt_tokens": _count(),
        "n_queries": _count(),
        "model": _NAME,
        "weights_sha256": _A_HEX,
        "gate_shift": _NUMBER,
        "seed": _count(),
        "sampling": _a("SampledWith"),
        "dtype": _A_WORD,
        "device": _A_WORD,
        "impl": _A_WORD,
        "versions": _NAMES,
        "memory": _a("Memory"),
        "context": _optional(_count(1)),
        "threads": _optional(_count(1)),
        "machine": _optional(_NAME),
        "offsets": _one_of("code points"),
        "truncated": _optional(_one_of("left", "right")),
        "interrupted": _FLAG,
        "prompt_seconds": _TIME,
        "time_to_first_token_s": _TIME,
        "tokens_per_second": _TIME,
        "replayed": _optional(_a("Replayed")),
        "document": _optional(_NAME),
        "policy": _optional(_A_WORD),
        "budget": _optional(_count(1)),
        "policy_settings": _optional(_OBJECT),
        "vocabulary": _optional(_OBJECT),
        "control": _optional(_A_WORD),
        "control_seed": _optional(_count()),
        "lost_attention_on_token_0": _optional(_SHARES),
        "kv_dtype": _optional(_A_WORD),
        "exit_threshold": _optional(_within(0, 1, "a number from 0 to 1")),
    },
}
"""Part of a meta -> field -> what it must be."""

"""Numbers for people: shares, bytes and widths read the same on every page and in the terminal.

The quantities have one name each. Of entries: *held* (a later token of that layer can still attend
to it) and *dropped*; the share dropped is ``sparsity_at`` a step, at the last one unless another is
named. Of bytes: *live* (keys and values of the entries held), *allocated* (what the cache keeps for
them, gate keys, tables and spare rows included; ``kv_bytes_held`` in the JSON of the commands),
*dense* (keys and values of all tokens read), *process* (the whole program).
"""

from __future__ import annotations

__all__ = ["kept_in", "percent", "size"]

_KEPT = {"float32": "32-bit", "float16": "16-bit", "bfloat16": "bfloat16", "int8": "8-bit"}


def percent(share: float) -> str:
    """A share, to one decimal everywhere.

    >>> percent(0.7269)
    '72.7 %'
    """
    return f"{100 * share:.1f} %"


def size(number: float) -> str:
    """Bytes.

    >>> size(1_576_960)
    '1.5 MiB'
    """
    for unit in ("B", "KiB", "MiB"):
        if number < 1024:
            return (
                f"{number:.0f} {unit}" if unit == "B" or number >= 100 else f"{number:.1f} {unit}"
            )
        number /= 1024
    return f"{number:,.0f} GiB" if number >= 100 else f"{number:.1f} GiB"


def kept_in(kv_dtype: str | None) -> str:
    """How a run kept its keys and values, "" where as the model makes them.

    >>> kept_in("int8")
    '8-bit keys and values'
    """
    # A file may name another type: it is one short word, as `dcp.trace.rules` has it.
    return f"{_KEPT.get(kv_dtype, kv_dtype[:20])} keys and values" if kv_dtype else ""

"""One text under several policies as tables: what each holds, costs, and whom it drops.

Numpy and pandas; knows no model, no plots.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd

from dcp.policies.budget import TOLERANCE
from dcp.policies.registry import POLICIES
from dcp.runs.policies import Beside
from dcp.speech.words import Word
from dcp.stats.agreement import overlap
from dcp.stats.groups import group_names
from dcp.stats.survival import drop_table
from dcp.trace import Meta

__all__ = [
    "cost_so_far",
    "differences",
    "in_words",
    "kept_of_words",
    "policy_said",
    "policy_table",
    "rates_of_policies",
    "title_of",
    "word_table",
]


def title_of(policy: str) -> str:
    """A policy as pages and figures name it.

    >>> title_of("h2o"), title_of("none")
    ('H2O', 'Nothing dropped')
    """
    if policy == "none":
        return "Nothing dropped"
    return POLICIES[policy].title if policy in POLICIES else policy


def in_words(policy: str) -> str:
    """A policy within a sentence: "the gates", "H2O"."""
    return "the gates" if policy == "gates" else title_of(policy)


def policy_said(meta: Meta) -> str:
    """Who dropped in a run, with its budget and what differs from the defaults; "" for the gates
    alone. A file may say anything of itself: the words are plain text, cut short.

    "Sink + window, at most 64 entries a layer, sinks 8"
    """
    if meta.policy is None:
        return ""
    known = POLICIES.get(meta.policy)
    parts = [title_of(meta.policy)]
    if meta.budget is not None:
        shifted = meta.policy == "gates" and (meta.policy_settings or {}).get("by") == "shift"
        some = f"{meta.budget:,} entries a layer"
        parts.append(f"shifted as for {some}" if shifted else f"at most {some}")
    for key, value in (meta.policy_settings or {}).items():
        if known is None or known.settings.get(key) in (None, value) or key == "by":
            continue
        plain = "".join(c if c.isprintable() else " " for c in str(value))
        parts.append(f"“{plain[:60]}”" if key == "instruction" else f"{key} {plain[:20]}")
    return ", ".join(parts)


def differences(names: Iterable[str]) -> str:
    """Where our form of these policies must differ from the published one, each thing once; "" for
    none that does.

    >>> differences(["window", "none"])
    ''
    """
    who: dict[str, list[str]] = {}
    for name in names:
        policy = POLICIES.get(name)
        for each in policy.differs.split("; ") if policy is not None and policy.differs else ():
            who.setdefault(each, []).append(policy.title if policy else name)
    return "; ".join(f"{', '.join(titles)}: {what}" for what, titles in who.items())


def policy_table(beside: Beside) -> pd.DataFrame:
    """One row per policy.

    policy, title
    held             entries a layer holds, mean over steps and layers
    equal            whether that is within 1 % of the first one's
    kl               KL(nothing dropped ‖ policy) per token, mean over tokens (nats)
    perplexity       of this text, over its perplexity with nothing dropped
    attention_lost   share of the gates-off attention on tokens dropped by then, mean over queries
                     and layers, token 0 apart
    overlap          Jaccard index of what it and the first one hold: `dcp.stats.agreement.overlap`
    """
    first, rows = beside.first, []
    wanted = float(first.held().mean())
    for name, trace in beside.runs.items():
        assert trace.kl is not None
        assert trace.lost_attention is not None
        held, known = float(trace.held().mean()), trace.gates_off_logprob
        change = np.nan if known is None else _mean(known - trace.logprob)
        rows.append(
            {
                "policy": name,
                "title": title_of(name),
                "held": held,
                "equal": abs(held - wanted) <= TOLERANCE * wanted,
                "kl": _mean(trace.kl),
                "perplexity": float(np.exp(change)),
                "attention_lost": _mean(trace.lost_attention),
                "overlap": overlap(first, trace),
            }
        )
    return pd.DataFrame(rows)


def _mean(values: npt.NDArray[np.float32]) -> float:
    known = values[np.isfinite(values)]
    return float(known.mean()) if known.size else np.nan


def cost_so_far(beside: Beside) -> pd.DataFrame:
    """policy, token, kl: KL(nothing dropped ‖ policy) of each token's prediction (nats)."""
    parts = []
    for name, trace in beside.runs.items():
        assert trace.kl is not None
        tokens = np.arange(1, trace.tokens)
        parts.append(pd.DataFrame({"policy": name, "token": tokens, "kl": trace.kl[1:]}))
    return pd.concat(parts, ignore_index=True)


def word_table(beside: Beside, words: Sequence[Word], step: int, most: int = 16) -> pd.DataFrame:
    """What each policy still holds, when ``step`` has been read, of the words that mattered: those
    that got the most attention from later queries with nothing dropped. As `kept_of_words`."""
    return kept_of_words(beside, words, step, beside.received, most)


def kept_of_words(
    beside: Beside,
    words: Sequence[Word],
    step: int,
    attention: npt.NDArray[np.float32],
    most: int,
) -> pd.DataFrame:
    """What each policy holds, when ``step`` has been read, of the words that got most ``attention``
    [T], at most ``most`` and in the order of the text.

    The word of token 0, which soaks up what has nowhere else to go, and punctuation are left out.
    policy, word, first (its first token), received, held: the share of layers in which any of its
    tokens is held.
    """
    chosen = sorted(
        (w for w in words if w.first > 0 and w.last <= step and w.pos not in ("PUNCT", "SYM")),
        key=lambda w: -float(attention[w.first : w.last + 1].sum()),
    )[:most]
    chosen.sort(key=lambda w: w.first)
    rows = []
    for name, trace in beside.runs.items():
        for word in chosen:
            tokens = slice(word.first, word.last + 1)
            rows.append(
                {
                    "policy": name,
                    "word": word.text,
                    "first": word.first,
                    "received": float(attention[tokens].sum()),
                    "held": float((trace.death[:, tokens] > step).any(axis=1).mean()),
                }
            )
    return pd.DataFrame(rows, columns=["policy", "word", "first", "received", "held"])


def rates_of_policies(beside: Beside, words: Sequence[Word], horizon: int = 32) -> pd.DataFrame:
    """`dcp.stats.drop_table` by group of parts of speech of each policy but the one that drops
    nothing, with a column ``policy``: words of any length, of prompt and continuation."""
    parts = []
    for name, trace in beside.runs.items():
        if name == "none":
            continue
        table = drop_table(
            [(trace, words)],
            "group",
            horizon=horizon,
            source="both",
            pieces="all",
            least=1,
            n_boot=1,
        )
        parts.append(table.assign(policy=name))
    found = pd.concat(parts, ignore_index=True)
    return found[found["group"].isin(group_names("group"))].reset_index(drop=True)

"""Traces -> tables: how long words stay held, which words drop others, what chance would do.

Pure numpy and pandas; every function takes samples, pairs of a trace and its words
(`dcp.speech.words.words_of`), and knows no model, no tagger and no plot. Reading order: `lives`
(what is observed), `survival` (Kaplan-Meier and its intervals), `triggers`, `controls`, `hazard`
(adjusted effects), `noise` (the tagger's errors), `word_list` (the words themselves), `pooled` (all
of it, over many texts, as one file).
"""

from __future__ import annotations

from dcp.stats.controls import Policy, control_deaths, control_trace
from dcp.stats.groups import BY
from dcp.stats.hazard import hazard_table
from dcp.stats.lives import Lives, Sample, observe
from dcp.stats.noise import noise_table
from dcp.stats.survival import (
    drop_curve,
    drop_table,
    drop_table_by_layer,
    drop_table_with_controls,
    to_records,
)
from dcp.stats.triggers import trigger_table, trigger_tokens
from dcp.stats.word_list import word_table

__all__ = [
    "BY",
    "Lives",
    "Policy",
    "Sample",
    "control_deaths",
    "control_trace",
    "drop_curve",
    "drop_table",
    "drop_table_by_layer",
    "drop_table_with_controls",
    "hazard_table",
    "noise_table",
    "observe",
    "to_records",
    "trigger_table",
    "trigger_tokens",
    "word_table",
]

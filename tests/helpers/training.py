"""A run of seconds, for the tests of training."""

from __future__ import annotations

from pathlib import Path

from dcp.train.settings import TrainSettings

__all__ = ["TINY", "losses"]

TINY = TrainSettings().change(
    layers=2, width=32, heads=2, kv_heads=2, ffn=48, context=48, interaction=8, length=32,
    batch=4, micro=2, steps=6, warmup=1, decay=2, save_every=3, precision="no",
)  # fmt: skip


def losses(run: Path) -> list[float]:
    rows = (run / "log.csv").read_text().splitlines()[1:]
    return [float(row.split(",")[1]) for row in rows]

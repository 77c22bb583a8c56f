"""Measure the sparsity dial of a pruned checkpoint and write it into its ``dcp_config.json``.

The dial is the gate shift δ added to every β; its label is the sparsity that δ gives on validation
text and the perplexity it costs against a dense twin. Knows how to measure, not how to train.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from dcp.config import Calibration
from dcp.errors import ModelError
from dcp.evaluate import Progress, Windows, evaluate, evaluate_policies, read_windows
from dcp.evaluate_score import move
from dcp.model.weights import load
from dcp.tokens import Tokenizer

__all__ = ["calibrate"]


def calibrate(
    model: Path,
    dense: Path,
    files: Sequence[Path],
    context: int,
    gate_shifts: Sequence[float],
    *,
    limit: int = 0,
    device: str = "cpu",
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Measure ``model`` at each gate shift on ``files``, against ``dense``; write the calibration.

    Returns what a model card needs: the results, and untrained evictions at the trained point's
    held entries. ``limit`` > 0 takes that many windows of each file.
    """
    pruned, twin = load(model), load(dense, gates=False)
    for loaded in (pruned, twin):
        move(loaded, device)
    if pruned.gates is None:
        raise ModelError(f"{model} has no gates to calibrate")
    tokenizer = Tokenizer.load(model)
    parts = [read_windows(file, tokenizer, context, limit=limit) for file in files]
    windows = Windows.join(parts)
    shifts = sorted({0.0, *gate_shifts})
    results = evaluate(pruned, windows, shifts, twin, progress=progress)
    points = []
    for result in results:
        assert result.ppl_dense_finetuned is not None
        ratio = result.ppl_pruned / result.ppl_dense_finetuned
        points.append(Calibration(result.gate_shift, context, result.sparsity, ratio))
    gates = replace(pruned.gates, calibration=tuple(points))
    (model / "dcp_config.json").write_text(json.dumps(gates.to_json(), indent=2) + "\n")
    trained = next(result for result in results if result.gate_shift == 0)
    return {
        "windows": len(windows.ids),
        "results": [asdict(result) for result in results],
        "policies": [asdict(row) for row in evaluate_policies(twin, windows, trained.held_entries)],
    }

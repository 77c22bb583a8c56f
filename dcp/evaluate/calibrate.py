"""Measure the sparsity dial of a pruned checkpoint and write it into its ``dcp_config.json``.

The dial is the gate shift δ added to every β; its label is the sparsity that δ gives on validation
text and the perplexity it costs against a dense twin. Knows how to measure, not how to train.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from dcp.arguments import real
from dcp.errors import ModelError
from dcp.evaluate.perplexity import Windows, evaluate, read_windows
from dcp.evaluate.rivals import Rival
from dcp.evaluate.score import to_device
from dcp.evaluate.shares import continued, measure_shares, write_config
from dcp.model.checkpoint import GATES, Checkpoint
from dcp.model.gate_config import Calibration, GateConfig
from dcp.model.weights import load
from dcp.progress import Progress, silent

__all__ = ["calibrate", "fold"]

_RIVALS = tuple(Rival(name) for name in ("window", "strided", "sink"))


def fold(model: Path, gate_shift: float) -> None:
    """Make ``gate_shift`` the checkpoint's own operating point: added to every β, on disk.

    Its calibration no longer holds and is dropped. Raises ModelError where there are no gates.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file, save_file

    gates = Checkpoint.read(model).gates
    path = model / GATES
    try:
        tensors = load_file(path)
    except (OSError, SafetensorError) as wrong:
        raise ModelError(f"{path} cannot be read: {wrong}") from None
    for name, tensor in tensors.items():
        if name.endswith(".beta"):
            tensor += gate_shift
    save_file(tensors, path, metadata={"format": "pt"})
    write_config(model, _folded(gates, gate_shift))


def _folded(gates: GateConfig, gate_shift: float) -> GateConfig:
    """Gate shifts count from there; what was measured does not hold any more."""
    below = gates.changes_below
    moved = None if below is None else below - gate_shift
    return replace(gates, calibration=(), shares=None, changes_below=moved)


def calibrate(
    model: Path,
    dense: Path,
    files: Sequence[Path],
    context: int,
    gate_shifts: Sequence[float],
    *,
    folded: float = 0.0,
    changes_below: float | None = None,
    limit: int = 0,
    device: str = "cpu",
    progress: Progress = silent,
) -> dict[str, Any]:
    """Measure ``model`` at each gate shift on ``files``, against ``dense``; write the calibration.

    What was measured at other contexts stays, and so do the `Shares` of lengths that ``context``
    goes beyond (`dcp.evaluate.shares.continued`).

    ``folded`` is what every β is to gain for good: gate shifts count from there, and it is written
    with the calibration when all is measured, so that a run that stops changes nothing. So is
    ``changes_below``, where given: the gate shift from which on the gates of an adapter decide on
    its base's own weights (before folding).

    Returns what a model card needs: the results, and untrained evictions at the trained point's
    held entries. ``limit`` > 0 takes that many windows of each file.
    """
    opened = Checkpoint.read(model)
    pruned, twin = load(opened), load(dense, gates=False)
    for loaded in (pruned, twin):
        to_device(loaded, device)
    gates = pruned.gates
    if gates is None:
        raise ModelError(f"{model} has no gates to calibrate")
    if changes_below is not None:
        gates = replace(gates, changes_below=real("changes_below", changes_below))
        pruned = replace(pruned, gates=gates)
    parts = [read_windows(file, opened.tokenizer, context, limit=limit) for file in files]
    windows = Windows.join(parts)
    shifts = sorted({0.0, *gate_shifts})
    moved = [shift + folded for shift in shifts]
    found = evaluate(
        pruned, windows, moved, twin, policies=_RIVALS, policies_at=[folded], progress=progress
    )
    results = [replace(each, gate_shift=shift) for each, shift in zip(found, shifts, strict=True)]
    points = []
    for result in results:
        assert result.ppl_dense_finetuned is not None
        ratio = result.ppl_pruned / result.ppl_dense_finetuned
        points.append(Calibration(result.gate_shift, context, result.sparsity, ratio))
    known = {each.gate_shift: [share for _, share in each.sparsity_of_first] for each in found}
    shares = measure_shares(pruned, windows, moved, known=known, progress=progress)
    shares = replace(shares, deltas=tuple(delta - folded for delta in shares.deltas))
    if folded:
        fold(model, folded)
        gates = _folded(gates, folded)
    points += [point for point in gates.calibration if point.context != context]
    points.sort(key=lambda point: (point.context, point.delta))
    shares = continued(gates.shares, shares)
    gates = replace(gates, calibration=tuple(points), shares=shares)
    write_config(model, gates)
    sha256 = Checkpoint.read(model).sha256(gates=True)
    named = {"model": model.resolve().name, "weights_sha256": sha256}
    return {
        "windows": len(windows.ids),
        "results": [asdict(replace(result, policies=())) | named for result in results],
        "policies": [asdict(row) for result in results for row in result.policies],
    }

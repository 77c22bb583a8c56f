"""Write a pruned model whose base is frozen as an adapter: its gates, and the name of the base.

Whatever of the base was trained along (norms, say) is kept as differences, under the base's own
tensor names with ``delta.`` in front; low-rank changes as their two factors.
`dcp.model.checkpoint` reads adapters.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from importlib import metadata
from pathlib import Path

from safetensors.torch import save_file
from torch import Tensor

from dcp.model.checkpoint import DELTA, GATES, Checkpoint, open_base
from dcp.model.gate_config import Base, GateConfig
from dcp.model.low_rank import low_rank_names
from dcp.model.names import gate_names, stored_name, to_hf_names
from dcp.model.transformer import Transformer
from dcp.model.weights import tensors_of

__all__ = ["name_base", "save_adapter", "write_gates"]


def name_base(found: Checkpoint) -> Base:
    """How an adapter on ``found`` names it: its package or Hub repository, else its folder.

    Of an adapter: its own base. Raises ModelError.
    """
    if found.base is not None:
        base = found.gates.base
        assert base is not None
        return base
    hub, package = _hub_of(found.folder), _package_of(found.folder)
    file = found.weights[0].name
    return Base(
        name=hub.rpartition("/")[2] if hub else Path(file).stem if found.gguf else found.name,
        file=file if len(found.weights) == 1 else "model.safetensors.index.json",
        sha256=found.sha256(gates=False),
        hub=hub,
        package=package,
        folder=None if hub or package else str(found.folder),
        parameters=found.parameters(gates=False),
        config=found.hf_config,
    )


def _hub_of(folder: Path) -> str | None:
    """The repository of a snapshot in the Hub's cache: models--OWNER--NAME/snapshots/COMMIT."""
    home = folder.parent.parent.name
    parts = home.split("--")
    if folder.parent.name == "snapshots" and parts[0] == "models" and len(parts) >= 3:
        return f"{parts[1]}/{'--'.join(parts[2:])}"
    return None


def _package_of(folder: Path) -> str | None:
    """``name==version`` where the folder is an installed package."""
    if not (folder / "__init__.py").exists():
        return None
    for name in metadata.packages_distributions().get(folder.name, ()):
        return f"{name}=={metadata.version(name)}"
    return None


def save_adapter(folder: Path, transformer: Transformer, gates: GateConfig) -> None:
    """Write the gates and what else differs from ``gates.base``. Raises ModelError without it."""
    assert gates.base is not None
    state = {k: v.detach().cpu() for k, v in transformer.state_dict().items()}
    deltas: dict[str, Tensor] = {}
    with tensors_of(open_base(gates.base)) as (read, names):
        for name, tensor in to_hf_names(state, transformer.config).items():
            stored = stored_name(name, names)
            assert stored is not None
            delta = tensor.float() - read(stored).float()
            if delta.count_nonzero():
                deltas[DELTA + stored] = delta
    tuned = ["gates"]
    if deltas:
        norms = all("norm" in name or "ln_" in name for name in deltas)
        tuned.append("norms" if norms else "weights")
    low = {
        theirs: state[ours].float()
        for ours, theirs in low_rank_names(transformer.config.layers)
        if ours in state
    }
    if low:
        tuned.append("low rank")
    write_gates(folder, transformer, replace(gates, tuned="+".join(tuned)), deltas | low)


def write_gates(
    folder: Path, transformer: Transformer, gates: GateConfig, deltas: Mapping[str, Tensor]
) -> None:
    """The two files of gates, in float32."""
    state = transformer.state_dict()
    named = {
        theirs: state[ours].detach().cpu().float()
        for ours, theirs in gate_names(transformer.config.layers)
    }
    save_file(named | dict(deltas), folder / GATES, metadata={"format": "pt"})
    (folder / "dcp_config.json").write_text(json.dumps(gates.to_json(), indent=2) + "\n")

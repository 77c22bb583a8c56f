"""Texts that begin alike, read once: what they share is a row's trunk, how each goes on a branch.

A branch sees the trunk and itself, at the positions that its text has alone; a token of the trunk
that one branch drops is dropped for that branch. So every text gets what it gets by itself
(`dcp.model.masked`), for fewer tokens: four endings of a HellaSwag item take half. Knows nothing of
tasks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from dcp.kernels.gates import Gates

__all__ = ["BranchedAttend", "Rows", "row_length"]

_TRUNK, _PADDING = 0, -1
Ids = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Rows:
    """Rows of tokens, each a trunk and its branches one after another, padded at the end.

    ids, positions, branches  [B, T] int64; a branch is numbered from 1, 0 is the trunk, -1 padding
    trunks   [B] int64, tokens of each trunk
    columns  of each row, where the tokens of each of its texts lie, [n] int64
    """

    ids: Ids
    positions: Ids
    branches: Ids
    trunks: Ids
    columns: tuple[tuple[Ids, ...], ...]

    @classmethod
    def of(cls, groups: Sequence[Sequence[Ids]]) -> Rows:
        """A row for each group of texts [n >= 1] int64; what a group shares from its start is its
        trunk."""
        laid = [_lay(texts) for texts in groups]
        width = max(len(ids) for ids, *_ in laid)

        def filled(column: int, value: int) -> Ids:
            pieces = [row[column] for row in laid]
            return np.stack([np.pad(p, (0, width - len(p)), constant_values=value) for p in pieces])

        return cls(
            ids=filled(0, 0),
            positions=filled(1, 0),
            branches=filled(2, _PADDING),
            trunks=np.asarray([_trunk(texts) for texts in groups]),
            columns=tuple(columns for *_, columns in laid),
        )


def row_length(texts: Sequence[Ids]) -> int:
    """Tokens of the row of these texts."""
    trunk = _trunk(texts)
    return trunk + sum(len(text) - trunk for text in texts)


def _trunk(texts: Sequence[Ids]) -> int:
    """How many tokens all of them begin with."""
    shortest = min(map(len, texts))
    alike = np.all([text[:shortest] == texts[0][:shortest] for text in texts], axis=0)
    return shortest if alike.all() else int(alike.argmin())


def _lay(texts: Sequence[Ids]) -> tuple[Ids, Ids, Ids, tuple[Ids, ...]]:
    """One row's ids, positions and branches, and each text's columns."""
    trunk = _trunk(texts)
    pieces = [texts[0][:trunk], *(text[trunk:] for text in texts)]
    sizes = [*map(len, pieces)]
    starts = np.cumsum([0, *sizes])
    firsts = [0, *[trunk] * len(texts)]
    positions = [first + np.arange(size) for first, size in zip(firsts, sizes, strict=True)]
    columns = tuple(
        np.concatenate((np.arange(trunk), np.arange(start, end)))
        for start, end in pairwise(starts[1:])
    )
    branches = np.repeat(np.arange(len(pieces)), sizes)
    return np.concatenate(pieces), np.concatenate(positions), branches, columns


class BranchedAttend:
    """`dcp.model.masked.MaskedAttend` for ``rows``: token j is visible at a later one of its trunk
    or branch until a gate on the way from the one to the other is closed.

    gate_shift is added to every layer's β; None keeps everything. After a forward ``held`` [B, T]
    float64 is the entries visible at each token, its own included, mean over layers.
    """

    def __init__(self, rows: Rows, gate_shift: float | None, device: torch.device) -> None:
        self._shift = gate_shift
        positions, branches, trunks = (
            torch.from_numpy(each).to(device)
            for each in (rows.positions, rows.branches, rows.trunks)
        )
        earlier = positions[:, None, :] < positions[:, :, None]
        joined = (branches[:, None, :] == _TRUNK) | (branches[:, None, :] == branches[:, :, None])
        self._past = earlier & joined
        self._self = torch.eye(positions.shape[1], dtype=torch.bool, device=device)
        # On the way to t lie the first `trunk` rows, and of its branch those from `begin` to t.
        self._trunk = torch.where(branches == _TRUNK, 0, trunks[:, None])
        steps = torch.arange(positions.shape[1], device=device)
        self._begin = torch.where(branches <= _TRUNK, 0, steps - positions + trunks[:, None])
        self._held: list[Tensor] = []

    @property
    def held(self) -> Tensor:
        """[B, T] float64: entries visible in the last forward, mean over layers."""
        return torch.stack(self._held).double().mean(dim=0)

    def __call__(self, layer: int, q: Tensor, k: Tensor, v: Tensor, gates: Gates | None) -> Tensor:
        if layer == 0:
            self._held = []
        past = self._past
        if self._shift is not None and gates is not None:
            past = past & ~self._dropped(gates.logits(self._shift))
        visible = past | self._self
        self._held.append(visible.sum(dim=-1))
        q, k, v = (x.transpose(1, 2) for x in (q, k, v))
        grouped = q.shape[1] != k.shape[1]
        out = F.scaled_dot_product_attention(
            q, k, v, attn_mask=visible[:, None], enable_gqa=grouped
        )
        return out.transpose(1, 2)

    def _dropped(self, z: Tensor) -> Tensor:
        """z [B, T, T] -> [B, T, T] bool: a gate of column j has closed on t's way, t included."""
        closed = (z <= 0) & self._past
        so_far = F.pad(closed.cumsum(dim=1, dtype=torch.int32), (0, 0, 1, 0))

        def until(row: Tensor) -> Tensor:
            return so_far.gather(1, row[:, :, None].expand_as(z))

        in_branch = so_far[:, 1:] - until(self._begin)
        return (in_branch + until(self._trunk)) > 0

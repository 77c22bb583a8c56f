"""What ``dcp_config.json`` says of a checkpoint's gates, as frozen dataclasses.

Knows nothing of torch or of files.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from itertools import pairwise
from typing import Any

from dcp.errors import ModelError

__all__ = ["USUAL_TOKENS", "Base", "Calibration", "GateConfig", "Shares", "measured_at"]

# The length that counts where that of a text is not known.
USUAL_TOKENS = 1024

# What becomes a file name, a Hub id, an argument of pip.
_SAFE = {
    "name": r"\w[\w.-]{0,99}",
    "file": r"\w[\w.-]{0,199}",
    "sha256": r"[0-9a-f]{64}",
    "hub": r"\w[\w.-]*/\w[\w.-]*",
    "package": r"\w[\w.-]*(==\w[\w.+!-]*)?",
}


@dataclass(frozen=True)
class Calibration:
    """One measured point of the sparsity dial: what gate shift ``delta`` does on validation text.

    sparsity is ``sparsity_mean_steps`` at ``context`` tokens; perplexity_ratio is against the
    dense twin fine-tuned equally long.
    """

    delta: float
    context: int
    sparsity: float
    perplexity_ratio: float


def measured_at(
    calibration: Sequence[Calibration], tokens: int = USUAL_TOKENS
) -> list[Calibration]:
    """The points of the measured context nearest to a text of ``tokens``, by the ratio of the two;
    from what keeps most to what keeps least. Empty without any.

    >>> short, long = Calibration(0.0, 256, 0.3, 1.0), Calibration(0.0, 4096, 0.7, 1.0)
    >>> measured_at([short, long], 900)[0].context, measured_at([short, long], 1100)[0].context
    (256, 4096)
    """
    contexts = {point.context for point in calibration}
    if not contexts:
        return []
    nearest = min(sorted(contexts), key=lambda context: abs(math.log(context / max(tokens, 1))))
    return sorted((p for p in calibration if p.context == nearest), key=lambda p: p.sparsity)


@dataclass(frozen=True)
class Shares:
    """What a gate shift drops of texts of several lengths, on validation text; no quality.

    tokens [N]      lengths, rising
    deltas [S]      gate shifts, rising
    dropped [S][N]  ``sparsity_mean_steps`` of the first so many tokens of a window
    """

    tokens: tuple[int, ...]
    deltas: tuple[float, ...]
    dropped: tuple[tuple[float, ...], ...]

    def to_json(self) -> dict[str, Any]:
        return {
            "tokens": list(self.tokens),
            "rows": [
                [delta, *(round(share, 4) for share in row)]
                for delta, row in zip(self.deltas, self.dropped, strict=True)
            ],
        }

    @classmethod
    def from_json(cls, found: Any) -> Shares:
        """Raises ValueError, TypeError or KeyError for anything but what `to_json` gives."""
        tokens = tuple(int(n) for n in found["tokens"])
        rows = [tuple(float(value) for value in row) for row in found["rows"]]
        deltas = tuple(row[0] for row in rows)
        if not tokens or not rows or {len(row) for row in rows} != {len(tokens) + 1}:
            raise ValueError("shares: every row holds a gate shift and a share for each length")
        rising = all(a < b for line in (tokens, deltas) for a, b in pairwise(line))
        if not rising or tokens[0] < 2 or not all(map(math.isfinite, deltas)):
            raise ValueError("shares: lengths and gate shifts must rise")
        if not all(0 <= share <= 1 for row in rows for share in row[1:]):
            raise ValueError("shares: a share is from 0 to 1")
        return cls(tokens, deltas, tuple(row[1:] for row in rows))


@dataclass(frozen=True)
class Base:
    """The model that an adapter's gates belong to, by the hash of its own file.

    name        what people call it
    file        its file; for a model in shards their index
    sha256      of that file, or of all shards one after another
    hub         the Hub repository that holds it
    package     the Python package that carries it, ``name==version``
    folder      where it lay on this machine, for a base that nobody else can get
    parameters  how many numbers it holds
    config      its ``config.json``, for those who have not got it yet
    """

    name: str
    file: str
    sha256: str
    hub: str | None = None
    package: str | None = None
    folder: str | None = None
    parameters: int = 0
    config: Mapping[str, Any] = field(default_factory=dict, compare=False, repr=False)

    def to_json(self) -> dict[str, Any]:
        """What is known of it, empty entries left out."""
        return {name: value for name, value in asdict(self).items() if value}

    @classmethod
    def from_json(cls, found: Any) -> Base:
        """Raises ModelError for what is missing, or no name at all."""
        if not isinstance(found, Mapping):
            raise ModelError("dcp_config.json is damaged: base is not an object")
        for name, pattern in _SAFE.items():
            value = found.get(name)
            if value is None and name in ("hub", "package"):
                continue
            if not isinstance(value, str) or not re.fullmatch(pattern, value, re.ASCII):
                raise ModelError(f"dcp_config.json is damaged: base has {name} {value!r}"[:200])
        folder, count, config = (found.get(n) for n in ("folder", "parameters", "config"))
        return cls(
            name=found["name"],
            file=found["file"],
            sha256=found["sha256"],
            hub=found.get("hub"),
            package=found.get("package"),
            folder=folder if isinstance(folder, str) else None,
            parameters=count if isinstance(count, int) else 0,
            config=config if isinstance(config, Mapping) else {},
        )


@dataclass(frozen=True)
class GateConfig:
    """What ``dcp_config.json`` says: interaction width r, the dial's calibration, variants.

    With a ``base`` the folder is an adapter: it holds gates, and what else was ``tuned`` as
    differences to the base. They apply at gate shifts below ``changes_below`` (None: at all); from
    there on, where little is dropped, the gates decide on the base's own weights.
    """

    interaction: int
    calibration: tuple[Calibration, ...] = ()
    delay: int = 0
    base: Base | None = None
    tuned: str = "gates"
    shares: Shares | None = None
    changes_below: float | None = None

    def changed_at(self, gate_shift: float) -> bool:
        """Whether what was tuned beside the gates applies at this gate shift."""
        return self.changes_below is None or gate_shift < self.changes_below

    def to_json(self) -> dict[str, Any]:
        """Format 1, or 2 for an adapter."""
        own: dict[str, Any] = {
            "format": 1 if self.base is None else 2,
            "interaction": self.interaction,
            "delay": self.delay,
            "calibration": [asdict(point) for point in self.calibration],
        }
        if self.shares is not None:
            own["shares"] = self.shares.to_json()
        if self.base is None:
            return own
        if self.changes_below is not None:
            own["changes_below"] = self.changes_below
        return {**own, "base": self.base.to_json(), "tuned": self.tuned}

    @classmethod
    def from_json(cls, found: Mapping[str, Any]) -> GateConfig:
        """Raises ModelError on an unknown format, a variant we do not honour, or wrong types."""
        if found.get("format") not in (1, 2):
            raise ModelError(
                f"dcp_config.json has format {found.get('format')!r}; this reads 1 and 2"
            )
        if found.get("delay", 0) != 0:
            raise ModelError(
                f"this checkpoint needs delayed eviction (delay {found['delay']}), "
                "which this version does not do"
            )
        try:
            points = tuple(
                Calibration(
                    float(p["delta"]),
                    int(p["context"]),
                    float(p["sparsity"]),
                    float(p["perplexity_ratio"]),
                )
                for p in found.get("calibration", ())
            )
            base = Base.from_json(found.get("base")) if found["format"] == 2 else None
            shares = Shares.from_json(found["shares"]) if "shares" in found else None
            below = found.get("changes_below")
            gates = cls(
                interaction=int(found["interaction"]),
                calibration=points,
                base=base,
                tuned=str(found.get("tuned", "gates")),
                shares=shares,
                changes_below=None if below is None else float(below),
            )
        except (KeyError, TypeError, ValueError) as wrong:
            raise ModelError(f"dcp_config.json is damaged: {wrong!r}") from None
        if gates.changes_below is not None and not math.isfinite(gates.changes_below):
            raise ModelError("dcp_config.json: changes_below must be a finite gate shift")
        if not 0 < gates.interaction < 2**16:
            raise ModelError(f"dcp_config.json: interaction {gates.interaction} must be at least 1")
        return gates

"""What ``dcp_config.json`` says of a checkpoint's gates, as frozen dataclasses.

Knows nothing of torch or of files.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from dcp.errors import ModelError

__all__ = ["Calibration", "GateConfig"]


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


@dataclass(frozen=True)
class GateConfig:
    """What ``dcp_config.json`` says: interaction width r, the dial's calibration, variants."""

    interaction: int
    calibration: tuple[Calibration, ...] = ()
    delay: int = 0

    FORMAT = 1

    def to_json(self) -> dict[str, Any]:
        return {
            "format": self.FORMAT,
            "interaction": self.interaction,
            "delay": self.delay,
            "calibration": [asdict(point) for point in self.calibration],
        }

    @classmethod
    def from_json(cls, found: Mapping[str, Any]) -> GateConfig:
        """Raises ModelError on an unknown format, a variant we do not honour, or wrong types."""
        if found.get("format") != cls.FORMAT:
            raise ModelError(
                f"dcp_config.json has format {found.get('format')!r}; this reads {cls.FORMAT}"
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
            gates = cls(int(found["interaction"]), points)
        except (KeyError, TypeError, ValueError) as wrong:
            raise ModelError(f"dcp_config.json is damaged: {wrong!r}") from None
        if gates.interaction < 1:
            raise ModelError(f"dcp_config.json: interaction {gates.interaction} must be at least 1")
        return gates

"""Writes a model of `transformers` for openvino-genai and onnxruntime-genai.

    python convert.py FOLDER TARGET KIND

KIND is openvino-int8, openvino-float32, onnxruntime-int4 or onnxruntime-float32. Runs in the
peers' own environment, without a network; knows nothing of dcp. Weights are quantised as each tool
does by default: a step for each row (openvino, 8 bits), for 32 numbers (onnxruntime, 4 bits).
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

OPENVINO = "from optimum.commands.optimum_cli import main; main()"


def command(source: str, target: str, kind: str) -> list[str]:
    tool, _, weights = kind.partition("-")
    short = {"float32": "fp32"}.get(weights, weights)
    if tool == "openvino":
        task = ["--task", "text-generation-with-past", "--weight-format", short]
        return ["-c", OPENVINO, "export", "openvino", "--model", source, *task, target]
    builder = ["-m", "onnxruntime_genai.models.builder", "-m", "hf", "-i", source]
    return [*builder, "-o", target, "-p", short, "-e", "cpu"]


def main() -> None:
    source, target, kind = sys.argv[1:]
    half = f"{target}.part"
    settings = {**os.environ, "HF_HUB_OFFLINE": "1"}
    subprocess.run([sys.executable, *command(source, half, kind)], check=True, env=settings)
    Path(half).rename(target)


if __name__ == "__main__":
    main()

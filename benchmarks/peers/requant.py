"""Writes a GGUF again with other weights: ``python requant.py FROM.gguf TO.gguf q8_0|f16``.

Every matrix of the file is widened to float32 and stored as asked, all else is copied as it is.
Runs in the peers' own environment (package ``gguf``); knows nothing of dcp.
"""

from __future__ import annotations

import sys
from pathlib import Path

from gguf import GGMLQuantizationType, GGUFReader, GGUFValueType, GGUFWriter, LlamaFileType
from gguf.quants import dequantize, quantize

KINDS = {
    "q8_0": (GGMLQuantizationType.Q8_0, LlamaFileType.MOSTLY_Q8_0),
    "f16": (GGMLQuantizationType.F16, LlamaFileType.MOSTLY_F16),
}


def write(source: Path, target: Path, kind: str) -> None:
    stored, file_type = KINDS[kind]
    reader = GGUFReader(source)
    architecture = reader.fields["general.architecture"].contents()
    writer = GGUFWriter(target, architecture)
    for name, field in reader.fields.items():
        if name.startswith("GGUF.") or name in ("general.architecture", "general.file_type"):
            continue
        value, *inner = field.types
        element = inner[-1] if value == GGUFValueType.ARRAY else None
        writer.add_key_value(name, field.contents(), value, element)
    writer.add_file_type(file_type)
    for tensor in reader.tensors:
        if tensor.tensor_type == GGMLQuantizationType.F32:
            writer.add_tensor(tensor.name, tensor.data)
        else:
            wide = dequantize(tensor.data, tensor.tensor_type)
            writer.add_tensor(tensor.name, quantize(wide, stored), raw_dtype=stored)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


if __name__ == "__main__":
    write(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3])

"""Text of other kinds than dcp-mini read: web pages of 2004 to 2011, and programs.

    python -m benchmarks.other_text --ewt en_ewt-ud-train.conllu.xz --out runs/other

Writes ``web.txt``, documents of Universal Dependencies English EWT (weblogs, newsgroups, e-mails;
CC BY-SA 4.0), and ``python.txt``, modules of the running Python's standard library (PSF licence),
without their empty lines, since one ends a document. The beginning of each, so that a document is
one window. Same files on every machine for the same Python.
"""

from __future__ import annotations

import argparse
import lzma
import sysconfig
from pathlib import Path

# Some 1,200 tokens of the widest text; what is shorter gives no window.
_CHARACTERS = 7000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--ewt", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    for name, documents in (("web", _web(args.ewt)), ("python", _modules())):
        begun = [document[:_CHARACTERS] for document in documents if len(document) >= 4000]
        (args.out / f"{name}.txt").write_text("\n\n".join(begun) + "\n", encoding="utf-8")
        print(f"{name}: {len(begun)} documents")


def _web(path: Path) -> list[str]:
    """Documents of a CoNLL-U file, one paragraph a line."""
    documents: list[list[list[str]]] = []
    for line in lzma.decompress(path.read_bytes()).decode("utf-8").split("\n"):
        if line.startswith("# newdoc"):
            documents.append([])
        elif line.startswith("# newpar") or (line.startswith("# text = ") and not documents[-1]):
            documents[-1].append([])
        if line.startswith("# text = "):
            documents[-1][-1].append(line.removeprefix("# text = ").strip())
    return ["\n".join(" ".join(p) for p in paragraphs if p) for paragraphs in documents]


def _modules() -> list[str]:
    library = Path(sysconfig.get_path("stdlib"))
    texts = [path.read_text(encoding="utf-8") for path in sorted(library.glob("*.py"))]
    return ["\n".join(line for line in text.splitlines() if line.strip()) for text in texts]


if __name__ == "__main__":
    main()

"""How to cite: BibTeX of the paper of the method, and of this software. Knows nothing else."""

from __future__ import annotations

from dcp import __version__

__all__ = ["BIBTEX", "PAPER"]

PAPER = """\
@inproceedings{anagnostidis2023dynamic,
  title     = {Dynamic Context Pruning for Efficient and Interpretable Autoregressive Transformers},
  author    = {Anagnostidis, Sotiris and Pavllo, Dario and Biggio, Luca and Noci, Lorenzo and
               Lucchi, Aurelien and Hofmann, Thomas},
  booktitle = {Advances in Neural Information Processing Systems},
  volume    = {36},
  year      = {2023},
  eprint    = {2305.15805},
  archiveprefix = {arXiv}
}
"""

_SOFTWARE = """\
@software{dcp,
  title   = {dcp: see what a language model forgets},
  author  = {{The dcp developers}},
  version = {VERSION},
  license = {Apache-2.0}
}
"""

BIBTEX = f"{PAPER}\n{_SOFTWARE.replace('VERSION', __version__)}"
"""Both entries, as CITATION.cff says them."""

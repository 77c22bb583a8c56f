"""``python -m dcp.train``: the train command alone, without the rest of the command line."""

from __future__ import annotations

import argparse
import sys

from dcp.train.cli import add_arguments, run

if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="dcp.train", description=__doc__)
    add_arguments(parser)
    sys.exit(run(parser.parse_args()))

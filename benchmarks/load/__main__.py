"""Many visitors of the public app at once: is it still there for everyone?

    python -m benchmarks.load                         10 minutes of 8 visitors, then 20 at once
    python -m benchmarks.load --seconds 20 --crowd 0  a short look

Serves the app on this machine with ``DCP_PUBLIC=1``, lets one visitor open every page, then counts
what the visitors see: one for a minute at most, then all. The clients take their share of the same
cores.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import platform
import sys
from pathlib import Path

from benchmarks.load.trial import Trial, served

_FOUND = """{machine}
{visitors} visitors for {seconds:.0f} s: {runs} runs ended, {lost} lost; a run took {p50_s:.1f} s \
(median), {max_s:.1f} s at most
health: p50 {health_p50_ms:.0f} ms, p99 {health_p99_ms:.0f} ms, max {health_max_ms:.0f} ms
{crowd} visitors at once: {places} places told, {wrong_places} wrong; {crowd_lost} lost
memory: {before_mib:.0f} MiB before, {one_mib:.0f} with one visitor, {visitors_mib:.0f} with \
{visitors}, {peak_mib:.0f} at most, {after_mib:.0f} after all had left"""


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--visitors", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=600.0)
    parser.add_argument("--new-tokens", type=int, default=64)
    parser.add_argument("--crowd", type=int, default=20, help="visitors who come at once, 0: none")
    parser.add_argument("--out", type=Path, help="write the figures there as JSON")
    args = parser.parse_args()
    with served(DCP_MODEL="dcp-mini") as server:
        trial = Trial(server, args.new_tokens)
        found = asyncio.run(trial.run(args.visitors, args.seconds, args.crowd))
    found = {"machine": f"{platform.machine()}, Python {platform.python_version()}"} | found
    print(_FOUND.format(**found))
    if args.out:
        args.out.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    sys.exit(found["lost"] + found["crowd_lost"] + found["wrong_places"] > 0)


if __name__ == "__main__":
    main()

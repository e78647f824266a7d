"""netns-lab/run: run scenarios with live progress and end with a table of verdicts.

    netns-lab/run [SCENARIO...] [--native|--uml] [--list] [--keep] [--jobs N]

Without SCENARIO all of them. A scenario runs on this kernel where it has ESP and we are root, and otherwise
in a User-Mode Linux guest, one guest per scenario, as many at a time as there are cores (two at most).
Exit status: 0 when every verdict is good, 1 when not, 2 for wrong usage or when there is nowhere to run.
"""

from __future__ import annotations

import argparse
import compileall
import fcntl
import json
import sys
from pathlib import Path
from typing import IO

from lab import catalogue, place
from lab.runner import Runner
from lab.scenario import Lab


def parse_arguments() -> argparse.Namespace:
    lab = Path(__file__).resolve().parents[1]
    parser = argparse.ArgumentParser(
        prog="netns-lab/run", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "scenarios", nargs="*", metavar="SCENARIO", help="name, number or beginning of a name"
    )
    where = parser.add_mutually_exclusive_group()
    where.add_argument("--native", action="store_true", help="on this kernel, or not at all")
    where.add_argument("--uml", action="store_true", help="in a guest, even if this kernel could do it")
    parser.add_argument("--list", action="store_true", help="name the scenarios and end")
    parser.add_argument("--keep", action="store_true", help="keep the artefacts of good scenarios, too")
    parser.add_argument(
        "--jobs", type=int, default=0, help="guests at a time (default: one per core, at most 2)"
    )
    parser.add_argument("--folder", type=Path, default=lab / "scenarios", help="where the scenarios are")
    parser.add_argument("--artefacts", type=Path, default=lab / "artefacts", help="where the artefacts go")
    parser.add_argument("--json", type=Path, help="write what came of each scenario to this file")
    parser.add_argument("--here", action="store_true", help=argparse.SUPPRESS)  # we are inside: just do it
    return parser.parse_args()


def lock(artefacts: Path, name: str) -> IO[str]:
    """Two runs of one scenario must not write the same artefacts. BlockingIOError when another one does."""
    artefacts.mkdir(parents=True, exist_ok=True)
    path = artefacts / f".{name}.lock"
    file = path.open("w")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        file.close()
        raise BlockingIOError(error.errno, error.strerror, str(path)) from None
    return file


def main() -> int:
    options = parse_arguments()
    entries = catalogue.read(options.folder)
    try:
        chosen = catalogue.choose(entries, options.scenarios)
    except LookupError as error:
        print(f"netns-lab/run: {error}", file=sys.stderr)
        return 2
    if options.list:
        for entry in chosen:
            print(f"{entry.name:28} {entry.title}")
        return 0
    if options.here:
        (entry,) = chosen
        lab = Lab(entry.name, options.artefacts.resolve() / entry.name, entry.seconds)
        return 0 if lab.run(entry.load()) else 1

    not_native = "" if options.uml else place.why_not_native()
    not_guest = "" if options.native else place.why_not_guest()
    if options.native and not_native:
        print(f"netns-lab/run: cannot run natively: {not_native}", file=sys.stderr)
        return 2
    native = not options.uml and not not_native
    if not native and not_guest:
        print(f"netns-lab/run: cannot run natively: {not_native or 'not wanted'}", file=sys.stderr)
        print(f"netns-lab/run: cannot run in a guest: {not_guest}", file=sys.stderr)
        return 2
    if native:
        print("Running on this kernel: it has ESP, and we are root.", flush=True)
    else:
        print(f"Running in User-Mode Linux guests: {not_native or 'as asked'}.", flush=True)
    # Every host of a scenario starts its own Python, on a guest's read-only disk: compile once, here.
    for package in ("gkmd", "wire", "netns-lab/lab"):
        compileall.compile_dir(place.REPO / package, quiet=2)
    cores = place.cores()
    jobs = 1 if native else min(options.jobs or 2, len(cores), len(chosen))
    try:
        locks = [lock(options.artefacts, entry.name) for entry in chosen]
    except BlockingIOError as error:
        print(
            f"netns-lab/run: {error.filename} is locked: it runs elsewhere; wait, or choose --artefacts DIR"
        )
        return 2
    runner = Runner(chosen, options.artefacts.resolve(), native, cores[:jobs], options.keep)
    status = runner.run()
    for file in locks:
        file.close()
    if options.json:
        options.json.write_text(json.dumps(runner.report(), indent=1))
    return status


if __name__ == "__main__":
    sys.exit(main())

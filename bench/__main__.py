"""``python -m bench [NAME...] [--json FILE]``: runs the benchmarks and prints medians."""

from __future__ import annotations

import argparse
import importlib
import json
import os
import platform
import sys
import time
from pathlib import Path
from typing import Any, Final

NAMES: Final = ("codec", "crypto_cost", "machines", "store", "registrations", "admissions")


def show(result: dict[str, Any], indent: str = "  ") -> None:
    """Nested figures as aligned lines."""
    width = max((len(key) for key in result), default=0)
    for key, value in result.items():
        if isinstance(value, dict):
            print(f"{indent}{key}")
            show(value, indent + "  ")
        else:
            print(f"{indent}{key:<{width}}  {value}")


def main() -> int:
    """Exit status 1 when a benchmark cannot run."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(NAMES)}; all without")
    parser.add_argument("--json", metavar="FILE", type=Path, help="write the figures to FILE, too")
    given = parser.parse_args()
    for name in given.names:
        if name not in NAMES:
            parser.error(f"there is no benchmark {name!r}; expected some of {', '.join(NAMES)}")
    report: dict[str, Any] = {
        "time": time.time(),
        "python": platform.python_version(),
        "machine": platform.machine(),
        "cores": os.cpu_count(),
        "load": os.getloadavg()[0],
        "results": {},
    }
    failed = False
    for name in given.names or NAMES:
        print(name, flush=True)
        try:
            result = importlib.import_module(f"bench.{name}").run()
        except Exception as error:
            failed = True
            result = {"error": f"{type(error).__name__}: {error}"}
        report["results"][name] = result
        show(result)
    if given.json is not None:
        given.json.write_text(json.dumps(report, indent=2) + "\n")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())

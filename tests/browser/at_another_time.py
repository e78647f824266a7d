"""python at_another_time.py SECONDS SCRIPT_OR_MODULE ARGUMENT...: runs it with a clock that is SECONDS ahead.

What began yesterday, and what was paid an hour ago, can be made in a moment: the programs are the real ones.
"""

from __future__ import annotations

import runpy
import sys
import time

seconds = float(sys.argv[1])
truth = time.time
time.time = lambda: truth() + seconds
del sys.argv[:2]
if sys.argv[0].endswith(".py"):
    runpy.run_path(sys.argv[0], run_name="__main__")
else:
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)

"""Where scenarios can run: on this kernel, or in a guest of its own."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

GUEST_KERNEL = Path("/usr/bin/linux.uml")
LAUNCHER = Path(__file__).resolve().parents[1] / "uml" / "run"
REPO = Path(__file__).resolve().parents[2]
FRESH_IN_GUEST = ("/tmp", "/run", "/dev/shm")


def why_not_native() -> str:
    """Why this kernel cannot run a scenario; empty when it can."""
    if why := why_not_root():
        return why
    key = "0x" + bytes(20).hex()
    probe = ["unshare", "-n", "ip", "xfrm", "state", "add", "src", "127.0.0.1", "dst", "127.0.0.2"]
    probe += ["proto", "esp", "spi", "1", "mode", "transport", "aead", "rfc4106(gcm(aes))", key, "128"]
    done = subprocess.run(probe, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        return f"this kernel has no ESP ({_line(done.stderr)})"
    return ""


def why_not_guest() -> str:
    """Why no guest can run here; empty when it can."""
    if not GUEST_KERNEL.exists():
        return f"{GUEST_KERNEL} is missing (Debian package user-mode-linux)"
    return missing_tools()


def why_not_root() -> str:
    """Why tests that need root and namespaces cannot run on this kernel; empty when they can.

    Being root is not enough in a container, so a namespace is made and entered, and removed again.
    """
    if os.geteuid() != 0:
        return "not root"
    if tools := missing_tools():
        return tools
    name = f"lab{os.getpid()}-probe"
    try:
        for words in (("netns", "add", name), ("-n", name, "link", "show")):
            done = subprocess.run(["ip", *words], capture_output=True, text=True, check=False)
            if done.returncode != 0:
                return f"root, but without the power to make namespaces ({_line(done.stderr)})"
    finally:
        subprocess.run(["ip", "netns", "delete", name], capture_output=True, check=False)
    return ""


def cores() -> list[int]:
    """The cores that we may use."""
    return sorted(os.sched_getaffinity(0))


def environment() -> dict[str, str]:
    """The environment in which netns-lab/run uses the interpreter that runs us."""
    return {**os.environ, "VENV": sys.prefix}


def missing_tools() -> str:
    path = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"
    missing = [tool for tool in ("ip", "bridge", "tcpdump") if shutil.which(tool, path=path) is None]
    return f"missing programs: {', '.join(missing)}" if missing else ""


def _line(text: str) -> str:
    """An error output as one line without its last full stop."""
    return " ".join(text.split()).removeprefix("Error: ").rstrip(".") or "no reason given"


def guest_command(
    words: list[str], *, cpu: int, seconds: float, writable: list[Path], memory: str = "1G"
) -> list[str]:
    """The command line that runs ``words`` in a guest which sees this repository and interpreter."""
    binds = {REPO, Path(sys.prefix).resolve(), *(path.resolve() for path in writable)}
    base = Path(sys.base_prefix).resolve()
    if str(base).startswith(FRESH_IN_GUEST):
        binds.add(base)
    command = [str(LAUNCHER), "-m", memory, "-c", str(cpu), "-t", str(int(seconds)), "-d", str(REPO)]
    for bind in sorted(binds):
        command += ["-b", str(bind)]
    return [*command, "--", *words]

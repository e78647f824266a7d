"""The laws of the map, kept by reading the source: one arrow between layers, pure packages, small files."""

from __future__ import annotations

import ast
import functools
from collections.abc import Iterator
from pathlib import Path

import pytest

import gkmd
import wire

ROOT = Path(__file__).resolve().parent.parent

GROUP = {f"gkmd.group.{path.stem}" for path in (ROOT / "gkmd" / "group").glob("*.py")}
# What each package may import of ours. `gkmd` itself holds only the version.
ARROWS: dict[str, set[str]] = {
    "wire": {"wire"},
    "gkmd.core": {"gkmd.core"},
    "gkmd.crypto": {"gkmd.core", "gkmd.crypto"},
    "gkmd.api": {"gkmd.core", "gkmd.api"},
    # Groups and IKE know nothing of reservations, accounts and money: they ask a doorkeeper.
    "gkmd.group": {"gkmd.core", "gkmd.crypto.keymat", *GROUP},
    "gkmd.group.platform": {
        "gkmd.core",
        "gkmd.crypto.one_time",
        "gkmd.crypto.passkeys",
        "gkmd.crypto.passwords",
        "gkmd.api",
        "gkmd.group",
    },
    "gkmd.ike": {
        "wire",
        "gkmd.core",
        "gkmd.crypto",
        "gkmd.group.directory",
        "gkmd.group.doorkeeper",
        "gkmd.group.model",
        "gkmd.ike",
    },
    "gkmd.store": {
        "gkmd.core",
        "gkmd.crypto.seal_at_rest",
        "gkmd.group.model",
        "gkmd.group.platform.records",
        "gkmd.store",
    },
    "gkmd.kernel": {"gkmd.core", "gkmd.group.model", "gkmd.kernel"},
    "gkmd.daemon": {
        "wire",
        "gkmd.core",
        "gkmd.crypto",
        "gkmd.api",
        "gkmd.group",
        "gkmd.ike",
        "gkmd.store",
        "gkmd.kernel",
        "gkmd.daemon",
    },
    # Both speak to the daemon by its control socket; of its code they share the client and the configuration.
    "gkmd.web": {
        "gkmd.core",
        "gkmd.crypto.passwords",
        "gkmd.api",
        "gkmd.web",
        *(f"gkmd.daemon.{name}" for name in ("section", "values", "toml_source", "secret_files")),
        *(f"gkmd.daemon.{name}" for name in ("logs", "process_config", "privileges", "notify")),
    },
    "gkmd.cli": {
        "gkmd.core",
        "gkmd.crypto.issuing",
        "gkmd.crypto.passwords",
        "gkmd.api",
        "gkmd.daemon",
        "gkmd.web",
        "gkmd.cli",
    },
}
PURE = ("wire", "gkmd.core", "gkmd.crypto", "gkmd.api", "gkmd.group", "gkmd.group.platform", "gkmd.ike")
IMPURE_MODULES = {
    "time",
    "random",
    "secrets",
    "socket",
    "asyncio",
    "sqlite3",
    "threading",
    "subprocess",
    "select",
}
# core.rng is the one seam where the system's randomness is named.
IMPURE_ALLOWED = {"gkmd/core/rng.py"}
LINE_LIMIT = 500
FORBIDDEN_NAMES = {"utils", "util", "misc", "helpers", "helper", "manager", "common"}


def sources() -> list[Path]:
    return sorted(p for top in ("wire", "gkmd") for p in (ROOT / top).rglob("*.py"))


def package_of(path: Path) -> str:
    parts = path.relative_to(ROOT).parts
    if parts[:3] == ("gkmd", "group", "platform"):
        return "gkmd.group.platform"
    return parts[0] if parts[0] == "wire" or len(parts) == 2 else ".".join(parts[:2])


@functools.cache
def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text(), str(path))


def imported(path: Path) -> Iterator[tuple[int, str]]:
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: relative import"
            for alias in node.names:
                yield node.lineno, f"{node.module}.{alias.name}"


def within(name: str, packages: set[str]) -> bool:
    return any(name == p or name.startswith(p + ".") for p in packages)


def wrong_arrows(path: Path, package: str) -> list[str]:
    allowed = ARROWS.get(package, set())
    ours = ((line, name) for line, name in imported(path) if within(name, {"gkmd", "wire"}))
    return [
        f"{path.name}:{line}: {package} imports {name}"
        for line, name in ours
        if not within(name, allowed) and name not in ("gkmd", "gkmd.__version__")
    ]


def impurities(path: Path) -> list[str]:
    found = [
        f"{path.name}:{line}: imports {name}"
        for line, name in imported(path)
        if name.split(".")[0] in IMPURE_MODULES or name.startswith("os.urandom")
    ]
    found += [
        f"{path.name}:{node.lineno}: os.urandom"
        for node in ast.walk(tree_of(path))
        if isinstance(node, ast.Attribute) and node.attr in {"urandom", "getrandom"}
    ]
    return found


def test_the_wire_package_is_the_sibling_of_gkmd() -> None:
    assert Path(str(wire.__file__)).parent == ROOT / "wire"
    assert Path(str(gkmd.__file__)).parent == ROOT / "gkmd"


@pytest.mark.parametrize("path", sources(), ids=lambda p: str(p.relative_to(ROOT)))
def test_source_file(path: Path) -> None:
    package = package_of(path)
    relative = str(path.relative_to(ROOT))
    assert not wrong_arrows(path, package)
    if package in PURE and relative not in IMPURE_ALLOWED:
        assert not impurities(path)
    if package != "gkmd.crypto":
        assert not [n for _, n in imported(path) if n.split(".")[0] == "cryptography"]
    assert len(path.read_text().splitlines()) <= LINE_LIMIT, (
        f"{relative} is over {LINE_LIMIT} lines: split it by noun"
    )
    assert path.stem not in FORBIDDEN_NAMES


def test_the_scan_sees_a_wrong_arrow_and_an_impurity(tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.py"
    wrong.write_text("import time\nimport os\nfrom gkmd.ike import sa\nx = os.urandom(4)\n")
    assert wrong_arrows(wrong, "gkmd.group")
    assert len(impurities(wrong)) == 2

"""What the documents name exists, what they link to resolves, and the repository has no loose ends."""

from __future__ import annotations

import ast
import functools
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PROTOCOL = ROOT / "docs" / "protocol.md"
DOCUMENTS = sorted([ROOT / "README.md", *ROOT.glob("docs/**/*.md"), *ROOT.glob("netns-lab/**/README.md")])
SCENARIOS = sorted(path.parent for path in ROOT.glob("netns-lab/scenarios/*/scenario.py"))

# docs/protocol.md leaves out `gkmd/` before a module, and `tests/.../` and `.py` around a test's file.
_MODULE = re.compile(r"`((?:wire|(?:core|crypto|group|ike|store|kernel|daemon|cli))/\w+\.py)`")
_TEST = re.compile(r"`(test_\w+)::(\w+)`")
_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
_HEADING = re.compile(r"^#+ +(.+?) *$", re.MULTILINE)
_FENCED = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
# Spelt so that this file passes itself.
_LOOSE_END = re.compile(r"\b(?:T[O]DO|F[I]XME)\b(?!\(#)")
_OF_A_MACHINE = re.compile(r"(?<![\w.*~$}>-])/(?:home|root|work|Users)/\w")
# The plan tells the rules that these very words break; it goes with its issue.
_RULES = "docs/plan/"


def path_of(module: str) -> Path:
    return ROOT / module if module.startswith("wire/") else ROOT / "gkmd" / module


@functools.cache
def functions_of(test: str) -> frozenset[str]:
    """The functions of the test file with this stem; empty when there is no such file, or several."""
    files = list((ROOT / "tests").rglob(f"{test}.py"))
    if len(files) != 1:
        return frozenset()
    functions = (ast.FunctionDef, ast.AsyncFunctionDef)
    tree = ast.parse(files[0].read_text())
    return frozenset(node.name for node in ast.walk(tree) if isinstance(node, functions))


def unknown_names(text: str) -> list[str]:
    """The modules and tests that a text names and that are not there."""
    wrong = [name for name in _MODULE.findall(text) if not path_of(name).is_file()]
    return wrong + [f"{t}::{f}" for t, f in _TEST.findall(text) if f not in functions_of(t)]


def anchor(heading: str) -> str:
    """A heading as GitHub names it in links."""
    kept = re.sub(r"[^\w\- ]", "", heading.lower())
    return kept.replace(" ", "-")


def anchors_of(document: Path) -> list[str]:
    return [anchor(heading) for heading in _HEADING.findall(document.read_text())]


def broken_links(document: Path) -> list[str]:
    """Relative links that lead to no file, or to no heading of a document."""
    wrong = []
    for target in _LINK.findall(_FENCED.sub("", document.read_text())):
        if re.match(r"[a-z]+:", target):
            continue
        name, _, fragment = target.partition("#")
        path = document.parent / name if name else document
        if not path.exists() or (fragment and fragment not in anchors_of(path)):
            wrong.append(target)
    return wrong


def tracked() -> list[str]:
    """What git keeps; without git (a release archive) what an archive would hold."""
    listed = subprocess.run(["git", "-C", str(ROOT), "ls-files", "-z"], capture_output=True, check=False)
    if listed.returncode == 0 and listed.stdout:
        return [name for name in listed.stdout.decode().split("\0") if name and (ROOT / name).is_file()]
    tops = ("bench", "docs", "gkmd", "netns-lab", "packaging", "scripts", "tests", "wire")
    found = [path for top in tops for path in (ROOT / top).rglob("*") if path.is_file()]
    return [str(path.relative_to(ROOT)) for path in found if "__pycache__" not in path.parts]


def loose_ends(text: str) -> Iterator[str]:
    """Lines that name a path of somebody's machine, or work that no issue knows of."""
    ours = str(ROOT) + "/" if len(ROOT.parts) > 2 else "\0"
    for number, line in enumerate(text.splitlines(), 1):
        if _LOOSE_END.search(line) or _OF_A_MACHINE.search(line) or ours in line:
            yield f"{number}: {line.strip()[:100]}"


def drawn(readme: str) -> bool:
    """Whether a fenced block shows hosts on a line."""
    return any("----" in block and block.count("\n") > 3 for block in _FENCED.findall(readme))


def test_the_protocol_document_names_what_there_is() -> None:
    text = PROTOCOL.read_text()
    assert len(_TEST.findall(text)) > 100
    assert unknown_names(text) == []


def test_every_module_of_the_protocol_is_in_its_document() -> None:
    modules = {
        f"{path.parent.name}/{path.name}"
        for folder in (ROOT / "wire", ROOT / "gkmd" / "ike")
        for path in folder.glob("*.py")
        if path.name != "__init__.py"
    }
    assert sorted(modules - set(_MODULE.findall(PROTOCOL.read_text()))) == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda p: str(p.relative_to(ROOT)))
def test_links_resolve(document: Path) -> None:
    assert broken_links(document) == []


def test_nothing_is_left_lying_about() -> None:
    found = []
    for name in tracked():
        if not name.startswith(_RULES):
            text = (ROOT / name).read_bytes().decode("utf-8", "replace")
            found += [f"{name}:{line}" for line in loose_ends(text)]
    assert found == []


@pytest.mark.parametrize("folder", SCENARIOS, ids=lambda p: p.name)
def test_every_scenario_is_drawn_and_judged(folder: Path) -> None:
    readme = (folder / "README.md").read_text()
    assert drawn(readme)
    assert "Verdicts" in _HEADING.findall(readme)


def test_the_checks_see_what_is_wrong(tmp_path: Path) -> None:
    assert unknown_names("`ike/sa.py` `wire/no.py` `test_documents::unknown_names` `test_documents::no`") == [
        "wire/no.py",
        "test_documents::no",
    ]
    assert unknown_names("`test_no_such_file::test_it`") == ["test_no_such_file::test_it"]
    document = tmp_path / "one.md"
    document.write_text("# A b\n[x](#a-b) [y](#c) [z](two.md) [w](https://x.example)\n```\n[v](no)\n```\n")
    assert broken_links(document) == ["#c", "two.md"]
    word, home = "fixme".upper(), "/".join(["", "home", "me"])
    unknown, known = f"# {word}: later", f"# {word}(#7): later"
    homes = f"cd {home}/gkmd", "cd ~/gk", f"https://x.example{home}"
    assert [bool(list(loose_ends(line))) for line in (unknown, known, *homes)] == [
        True,
        False,
        True,
        False,
        False,
    ]
    assert drawn("```\n a\n |\n----\n b\n```\n")
    assert not drawn("```\nno drawing\n```\n")

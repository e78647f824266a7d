"""Working key paths: the example of RFC 9838 appendix A, and hostile or broken key trees."""

from __future__ import annotations

import hashlib
from collections import deque

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gkmd.core.change import WrapKey
from gkmd.core.errors import CryptoError
from gkmd.core.secret import SecretBytes
from gkmd.crypto.keywrap import wrap
from gkmd.ike.key_path import Opened, open_sa_key
from wire.gikev2 import WrappedKey

GSK_W = SecretBytes(b"\x99" * 32)
SA = SecretBytes(b"keying material of the Rekey SA")


def key(key_id: int) -> SecretBytes:
    """Key number n of the tree; 0 is GSK_w as a wrapping key."""
    return GSK_W if key_id == 0 else SecretBytes(hashlib.sha256(b"%d" % key_id).digest())


def edge(text: str) -> WrappedKey:
    """``16{15}`` as the RFC writes it; K is SA keying material, w the default key."""
    outer, inner = text.rstrip("}").split("{")
    kwk = 0 if outer == "w" else int(outer)
    if inner == "K":
        return WrappedKey(0, kwk, wrap(key(kwk), SA))
    return WrappedKey(int(inner), kwk, wrap(key(kwk), key(int(inner))))


def edges(*texts: str) -> list[WrappedKey]:
    return [edge(text) for text in texts]


def path(*ids: int) -> tuple[WrapKey, ...]:
    return tuple(WrapKey(i, key(i)) for i in ids)


def ids(opened: Opened | None) -> list[int] | None:
    if opened is None:
        return None
    assert opened.key == SA
    return [k.key_id for k in opened.working]


# Figure 24.
MEMBERS = {
    "A": path(1, 3, 7),
    "B": path(1, 3, 8),
    "C": path(1, 4, 9),
    "D": path(1, 4, 10),
    "E": path(2, 5, 11),
    "F": path(2, 5, 12),
    "G": path(2, 6, 13),
    "H": path(2, 6, 14),
}


def test_figure_23_member_a_joins() -> None:
    opened = open_sa_key(edges("1{K}"), edges("3{1}", "7{3}", "w{7}"), GSK_W, ())
    assert ids(opened) == [1, 3, 7]


@pytest.mark.parametrize("name", MEMBERS)
def test_figure_25_a_simple_rekey_changes_no_path(name: str) -> None:
    opened = open_sa_key(edges("w{K}"), [], GSK_W, MEMBERS[name])
    assert ids(opened) == [k.key_id for k in MEMBERS[name]]


@pytest.mark.parametrize(
    ("name", "after"),
    [
        ("A", [1, 3, 7]),
        ("B", [1, 3, 8]),
        ("C", [1, 4, 9]),
        ("D", [1, 4, 10]),
        # The prose of A.4 prints E's path the wrong way round, figure 28 the right way.
        ("E", [15, 16, 11]),
        ("F", None),
        ("G", [15, 6, 13]),
        ("H", [15, 6, 14]),
    ],
)
@pytest.mark.parametrize("backwards", [False, True])
def test_figures_27_and_28_member_f_is_excluded(name: str, after: list[int] | None, backwards: bool) -> None:
    sa_keys, wrap_keys = edges("1{K}", "15{K}"), edges("6{15}", "16{15}", "11{16}")
    if backwards:
        sa_keys.reverse()
        wrap_keys.reverse()
    assert ids(open_sa_key(sa_keys, wrap_keys, GSK_W, MEMBERS[name])) == after


def test_the_path_after_an_exclusion_serves_the_next_one() -> None:
    second = open_sa_key(edges("1{K}", "15{K}"), edges("6{15}", "16{15}", "11{16}"), GSK_W, MEMBERS["G"])
    assert second is not None
    # H goes: 15 and 6 are replaced by 17 and 18.
    third = open_sa_key(edges("1{K}", "17{K}"), edges("16{17}", "18{17}", "13{18}"), GSK_W, second.working)
    assert ids(third) == [17, 18, 13]
    old_h = open_sa_key(edges("1{K}", "17{K}"), edges("16{17}", "18{17}", "13{18}"), GSK_W, path(15, 6, 14))
    assert old_h is None


def test_a_key_tree_cannot_be_replaced_from_the_default_key_in_a_rekey() -> None:
    """A path that ends at GSK_w becomes the working path at registration only; else the own leaf would be
    lost.
    """
    opened = open_sa_key(edges("20{K}"), edges("w{20}"), GSK_W, MEMBERS["A"])
    assert ids(opened) == [1, 3, 7]


@pytest.mark.parametrize(
    "wrap_keys",
    [
        [],
        ["5{5}"],
        ["5{6}", "6{5}"],
        ["5{6}", "6{8}", "8{5}"],
        ["9{5}"],
    ],
)
def test_loops_and_missing_keys_exclude(wrap_keys: list[str]) -> None:
    assert open_sa_key(edges("5{K}"), edges(*wrap_keys), GSK_W, MEMBERS["A"]) is None


def test_a_loop_beside_the_way_is_no_obstacle() -> None:
    wrap_keys = edges("5{6}", "6{5}", "7{6}", "5{5}")
    assert ids(open_sa_key(edges("5{K}"), wrap_keys, GSK_W, MEMBERS["A"])) == [5, 6, 7]


def test_a_chain_of_a_thousand_keys() -> None:
    """Linear, and no recursion: RFC 9838 sets no limit."""
    wrap_keys = [edge(f"{n + 1}{{{n}}}") for n in range(100, 1100)]
    opened = open_sa_key(edges("100{K}"), wrap_keys, GSK_W, path(1100))
    assert ids(opened) == list(range(100, 1101))
    assert open_sa_key(edges("100{K}"), wrap_keys[:-1], GSK_W, path(1100)) is None


def test_another_copy_of_a_key_serves_when_one_does_not_unwrap() -> None:
    broken = WrappedKey(15, 3, bytes(40))
    assert ids(open_sa_key(edges("15{K}"), [broken, *edges("7{15}")], GSK_W, MEMBERS["A"])) == [15, 7]


def test_a_key_that_does_not_unwrap_is_no_exclusion() -> None:
    with pytest.raises(CryptoError, match="does not unwrap"):
        open_sa_key([WrappedKey(0, 0, bytes(40))], [], GSK_W, ())
    with pytest.raises(CryptoError, match="does not unwrap"):
        open_sa_key(edges("15{K}"), [WrappedKey(15, 7, bytes(40))], GSK_W, MEMBERS["A"])


def test_ids_and_sizes_that_must_not_be() -> None:
    with pytest.raises(CryptoError, match="SA_KEY has a Key ID"):
        open_sa_key(edges("1{3}"), [], GSK_W, MEMBERS["A"])
    with pytest.raises(CryptoError, match="Key ID zero"):
        open_sa_key(edges("1{K}"), edges("7{K}"), GSK_W, MEMBERS["A"])
    short = WrappedKey(15, 7, wrap(key(7), SecretBytes(bytes(16))))
    with pytest.raises(CryptoError, match="wrong size"):
        open_sa_key(edges("15{K}"), [short], GSK_W, MEMBERS["A"])


def reachable(sa_under: set[int], wraps: set[tuple[int, int]], held: set[int]) -> bool:
    """The slow truth: can these keys open an SA_KEY at all?"""
    known, queue = set(held), deque(held)
    while queue:
        at = queue.popleft()
        for outer, inner in wraps:
            if outer == at and inner not in known:
                known.add(inner)
                queue.append(inner)
    return bool(known & sa_under)


small = st.integers(1, 12)


@settings(max_examples=300, deadline=None)
@given(
    sa_under=st.sets(st.integers(0, 12), min_size=1, max_size=3),
    wraps=st.lists(st.tuples(st.integers(0, 12), small), max_size=16),
    working=st.lists(small, max_size=4, unique=True),
)
def test_any_graph(sa_under: set[int], wraps: list[tuple[int, int]], working: list[int]) -> None:
    """Opened exactly when there is a way; the new path leads from the SA key to the own leaf."""
    sa_keys = [WrappedKey(0, k, wrap(key(k), SA)) for k in sorted(sa_under)]
    wrap_keys = [WrappedKey(inner, outer, wrap(key(outer), key(inner))) for outer, inner in wraps]
    opened = open_sa_key(sa_keys, wrap_keys, GSK_W, path(*working))
    assert (opened is not None) == reachable(sa_under, set(wraps), {0, *working})
    if opened is None:
        return
    assert opened.key == SA
    after = [k.key_id for k in opened.working]
    assert len(after) == len(set(after))
    assert all(k.key == key(k.key_id) for k in opened.working)
    if working:
        assert after[-1] == working[-1]  # the leaf is never lost
        fresh = [i for i in after if i not in working]
        assert after[: len(fresh)] == fresh
        assert after[len(fresh) :] == working[len(working) - len(after) + len(fresh) :]
    if after != working:
        # Each key of the path opens the one before it; at registration GSK_w stands behind the last.
        assert after[0] in sa_under
        below = [*after[1:], 0] if not working else after[1:]
        assert all(
            (outer, inner) in wraps
            for inner, outer in zip(after, below, strict=False)
            if inner not in working
        )

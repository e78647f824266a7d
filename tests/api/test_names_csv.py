"""Lists of names as CSV: whatever stands in a file, each broken line is told and nothing is half taken."""

from __future__ import annotations

import csv
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gkmd.api.names_csv import MOST_PROBLEMS, fold, parse_names


def lines(text: str) -> io.StringIO:
    return io.StringIO(text, newline="")


def test_names_with_and_without_passwords_and_heading() -> None:
    parsed = parse_names(lines('\ufeffName,Password\nalice,"se,cret"\n\nbob\n carol , spaces stay \n'))
    assert parsed.problems == []
    assert parsed.names == [("alice", "se,cret"), ("bob", ""), ("carol", " spaces stay ")]


def test_a_list_without_heading_keeps_its_first_line() -> None:
    assert parse_names(lines("alice,one\n")).names == [("alice", "one")]


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        ("alice\n,secret\n", 2, "missing"),
        ("alice\nAlice,other\n", 2, "line 1"),
        ("a/b\n", 1, "slash"),
        ("a\x07b\n", 1, "printed"),
        ("a\0b\n", 1, "printed"),
        ("t-abcdefgh\n", 1, "ticket"),
        ("alice,one,two\n", 1, "3 columns"),
        ("alice,$argon2id$v=19$m=19456,t=2,p=1$c2FsdA$aGFzaA\n", 1, "needs quotes"),
        ("alice\n" + "x" * 201 + "\n", 2, "201 characters"),
        ("alice," + "x" * 257 + "\n", 1, "257 characters"),
        ("x" * 3000 + "\nbob\n", 1, "3001 characters"),
        ('alice\n"bob\n', 2, "no CSV"),
        ("", 1, "empty"),
    ],
)
def test_broken_lines_are_told_by_number(text: str, line: int, said: str) -> None:
    problems = parse_names(lines(text)).problems
    assert any(number == line and said in text for number, text in problems), problems


def test_many_problems_are_counted_not_kept() -> None:
    parsed = parse_names(lines("a,b,c\n" * (MOST_PROBLEMS + 25)))
    assert len(parsed.problems) == MOST_PROBLEMS
    assert parsed.more_problems == 25


@given(st.text(max_size=300))
def test_no_text_crashes_and_what_is_taken_is_sound(text: str) -> None:
    parsed = parse_names(lines(text))
    folded = [fold(name) for name, _ in parsed.names]
    assert len(folded) == len(set(folded))
    assert all(name and "/" not in name and name.isprintable() for name, _ in parsed.names)
    assert parsed.names or parsed.problems


@given(
    st.lists(
        st.tuples(
            st.from_regex(r"[a-s][a-z0-9@._]{0,20}", fullmatch=True),
            st.text(st.characters(codec="ascii", exclude_categories=("Cc",)), max_size=20),
        ),
        min_size=1,
        max_size=20,
        unique_by=lambda pair: pair[0],
    )
)
def test_what_was_written_is_read(pairs: list[tuple[str, str]]) -> None:
    out = io.StringIO(newline="")
    writer = csv.writer(out)
    writer.writerow(["name", "password"])
    writer.writerows(pairs)
    parsed = parse_names(lines(out.getvalue()))
    assert parsed.problems == []
    assert parsed.names == pairs

"""The audit log: who did what, as lines that are only added, each bound to all before it by a digest."""

from __future__ import annotations

import hashlib
import ipaddress
import json
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any, Final

import msgspec

from gkmd.api import requests as q
from gkmd.api import results as r
from gkmd.group.platform.facts import Facts
from gkmd.group.platform.line_shares import LineShares
from gkmd.group.platform.outcome import Read
from gkmd.group.platform.records import AuditLine
from gkmd.group.platform.work import Handlers, Work

STRANGER: Final = "stranger"
BEGINNING: Final = "0" * 64  # what the first line follows
_MOST_PLAIN: Final = 2**53  # a larger number is not one in every JSON
_PAGE: Final = 1000  # lines read at once
_MOST_READ: Final = 20_000  # lines looked at for one page of an answer
_ON_DISK: Final = 30.0  # seconds after which a line is surely where it is read from


class Audit:
    """``name_of`` gives the login or list name that belongs to an id, "" when it is forgotten."""

    __slots__ = ("_facts", "_name_of", "_older", "_shares", "_younger")

    def __init__(
        self, facts: Facts, last_line: AuditLine | None = None, name_of: Callable[[str], str] = str
    ) -> None:
        self._facts: Final = facts
        self._name_of: Final = name_of
        self._shares: Final = LineShares()
        # Of the lines that were committed, one that is on the disk by now and one that will be.
        self._older: AuditLine | None = last_line
        self._younger: AuditLine | None = last_line
        if last_line is not None:
            facts.resume(last_line)

    @property
    def lines(self) -> int:
        last = self._facts.newest(AuditLine)
        return 0 if last is None else last.number

    @property
    def head(self) -> str:
        """Digest of the last line; of no line ``BEGINNING``."""
        last = self._facts.newest(AuditLine)
        return BEGINNING if last is None else last.digest

    def note(self, actor: str, action: str, subject: str, now: float, **detail: Any) -> None:
        """One more line. ``actor`` and ``subject`` are ids; ``detail`` is JSON without names and secrets."""
        self._settle(now)
        # As it will be read: tuples are lists there.
        if not all(map(_is_plain, detail.values())):
            detail = msgspec.json.decode(msgspec.json.encode(detail))
        last = self._facts.newest(AuditLine)
        number, previous = (1, BEGINNING) if last is None else (last.number + 1, last.digest)
        fields = (number, float(now), actor, action, subject, detail, previous)
        self._facts.put(AuditLine(*fields, _digest(*fields)))

    def _settle(self, now: float) -> AuditLine | None:
        """The youngest line known to be on the disk. The newest of all may be on its way."""
        if self._younger is None or self._younger.at + _ON_DISK <= now:
            self._older = self._younger
            if not self._facts.changed:
                self._younger = self._facts.newest(AuditLine)
                if self._younger is not None and self._younger.at + _ON_DISK <= now:
                    self._older = self._younger
        return self._older

    def refusal(
        self, actor: str, action: str, subject: str, now: float, share: str = "", **detail: Any
    ) -> None:
        """A line about something that was refused, unless this actor had too many of late: those are counted,
        and ``tick`` sums them up. ``share``: one of several that an actor has, for what others say about it.
        """
        if self._shares.take(actor, action, now, subject, share):
            self.note(actor, action, subject, now, **detail)

    def tick(self, now: float, last: bool = False) -> None:
        """Sum up what was left out; with ``last`` all of it. Strangers cannot fill the journal."""
        for one in self._shares.due(now, last):
            detail: dict[str, Any] = {"omitted": dict(one.counts), "since": one.since}
            if one.subjects:
                detail["subjects"] = dict(one.subjects)
            self.note(one.name, "refused-more", "", now, **detail)

    def deadline(self) -> float | None:
        """When ``tick`` has something to do; None for never."""
        return self._shares.deadline()

    def operations(self) -> Handlers:
        return {"audit": self._list, "audit-verify": self._verify}

    def _list(self, request: q.ListAudit, work: Work) -> Read:
        found: list[AuditLine] = []
        limit = max(1, min(request.limit, 500))
        looked_at = 0

        def resume(lines: tuple[AuditLine, ...], now: float) -> r.Audit | Read:
            nonlocal looked_at
            for line in lines:
                looked_at += 1
                if request.subject in ("", line.subject) and request.actor in ("", line.actor):
                    found.append(line)
                    if len(found) == limit:
                        return self._page(found, line.key)
            if len(lines) < _PAGE:
                return self._page(found, "")
            if looked_at >= _MOST_READ:
                return self._page(found, lines[-1].key)
            return read(lines[-1].key)

        def read(after: str) -> Read:
            return Read(AuditLine.KIND, after, _PAGE, resume, descending=request.newest)

        return read(request.after)

    def _page(self, lines: list[AuditLine], after: str) -> r.Audit:
        return r.Audit(
            tuple(
                r.AuditView(
                    line.number,
                    line.at,
                    line.actor,
                    self._name_of(line.actor),
                    line.action,
                    line.subject,
                    self._name_of(line.subject),
                    line.detail,
                    line.previous,
                    line.digest,
                )
                for line in lines
            ),
            after,
        )

    def _verify(self, request: q.Nothing, work: Work) -> Read:
        # Younger lines are verified when they are read, and not missed when they are not.
        chain = Chain(self._settle(work.now))

        def resume(lines: tuple[AuditLine, ...], now: float) -> r.AuditVerified | Read:
            chain.follow(lines)
            if not chain.why and len(lines) == _PAGE:
                return read(lines[-1].key)
            chain.finish()
            why, broken = chain.why, chain.broken
            self.note(work.who.actor, "audit-verify", "", now, lines=chain.lines, broken=broken)
            return r.AuditVerified(chain.lines, chain.head, broken, why)

        def read(after: str) -> Read:
            return Read(AuditLine.KIND, after, _PAGE, resume)

        return read("")


class Chain:
    """Follows lines in their order; ``why`` is "" as long as each fits, ``broken`` the number of the first
    that does not. ``known`` is a line that must be among them, as the daemon remembers it.
    """

    __slots__ = ("_known", "broken", "head", "lines", "why")

    def __init__(self, known: AuditLine | None = None) -> None:
        self._known: Final = known
        self.lines = 0
        self.head = BEGINNING
        self.broken: int | None = None
        self.why = ""

    def follow(self, lines: Iterable[AuditLine]) -> None:
        known = self._known
        for line in lines:
            if self.why:
                return
            wanted = self.lines + 1
            if line.number != wanted:
                self._break(wanted, f"line {wanted} was needed, line {line.number} was found")
            elif line.previous != self.head:
                self._break(wanted, f"line {wanted} does not follow the line before it")
            elif sealed(line).digest != line.digest:
                self._break(wanted, f"line {wanted} is not as it was written")
            elif known is not None and known.number == wanted and known.digest != line.digest:
                self._break(wanted, f"line {wanted} is another one than was written")
            else:
                self.lines, self.head = line.number, line.digest

    def finish(self) -> None:
        """There are no more lines."""
        if not self.why and self._known is not None and self.lines < self._known.number:
            text = f"the log ends with line {self.lines}, but line {self._known.number} was written"
            self._break(self.lines + 1, text)

    def _break(self, number: int, why: str) -> None:
        self.broken, self.why = number, why


def place_of(origin: str) -> str:
    """Where a request came from, as far as the log keeps it for ever: the network, not the address."""
    try:
        address = ipaddress.ip_address(origin)
    except ValueError:
        return ""
    bits = 24 if address.version == 4 else 48
    return str(ipaddress.ip_network(f"{address}/{bits}", strict=False))


def sealed(line: AuditLine) -> AuditLine:
    """The line with the digest that belongs to it."""
    return replace(
        line,
        digest=_digest(
            line.number, line.at, line.actor, line.action, line.subject, line.detail, line.previous
        ),
    )


_canonical: Final = json.JSONEncoder(
    sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
).encode
_quoted: Final = json.encoder.encode_basestring


def _is_plain(value: object) -> bool:
    """It will be read as what it is."""
    if type(value) is str:
        return value.isascii()
    return type(value) is int and -_MOST_PLAIN < value < _MOST_PLAIN


def _member(name: str, value: object) -> str:
    """As ``_canonical`` would have it; most members are text and numbers."""
    if type(value) is str:
        return f"{_quoted(name)}:{_quoted(value)}"
    return f"{_quoted(name)}:{value if type(value) is int else _canonical(value)}"


def _digest(
    number: int, at: float, actor: str, action: str, subject: str, detail: dict[str, Any], previous: str
) -> str:
    """SHA-256 over the canonical JSON (keys in order, no spaces, UTF-8) of an object of all other fields."""
    members = ",".join([_member(name, detail[name]) for name in sorted(detail)])
    text = (
        f'{{"action":{_quoted(action)},"actor":{_quoted(actor)},"at":{at!r},"detail":{{{members}}},'
        f'"number":{number},"previous":{_quoted(previous)},"subject":{_quoted(subject)}}}'
    )
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()

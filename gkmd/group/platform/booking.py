"""The checks of a reservation, before it is made and when it changes: all that is wrong at once."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

import msgspec

from gkmd.api.nouns import Host, SecurityPolicy, SuppliedKeys
from gkmd.api.problem import FieldProblem
from gkmd.api.requests import ChangeReservation, Reserve
from gkmd.core.address import IpAddress
from gkmd.core.identity import IdentityPattern
from gkmd.core.secret import SecretBytes
from gkmd.group.platform import group_terms, rules, schedule, wall_clock
from gkmd.group.platform.pool import Pool, is_source_specific, wrong_with
from gkmd.group.platform.records import Reservation, SenderHost
from gkmd.group.platform.settings import PlatformSettings
from gkmd.group.terms import check
from gkmd.group.timeline import advice

MOST_HOSTS: Final = 100
MOST_SOURCES: Final = 100
_LONGEST_PATTERN: Final = 2000


@dataclass(slots=True)
class Booking:
    """``reservation`` None with ``problems``. Of one that is wrong ``starts`` and ``address`` tell what was
    understood.
    """

    reservation: Reservation | None = None
    problems: list[FieldProblem] = field(default_factory=list)
    starts: float | None = None
    address: IpAddress | None = None

    def wrong(self, where: str, text: str) -> None:
        self.problems.append(FieldProblem(where, text))


class Desk:
    """Books, and changes what is booked. Nothing is kept here. ``is_worn``: whether a key that a sender
    brings along was that of another transmission.
    """

    __slots__ = ("_is_worn", "_pool", "_settings")

    def __init__(
        self, settings: PlatformSettings, pool: Pool, is_worn: Callable[[SecretBytes], bool]
    ) -> None:
        self._settings: Final = settings
        self._pool: Final = pool
        self._is_worn: Final = is_worn

    def book(self, request: Reserve, id: str, owner: str, now: float) -> Booking:
        """The reservation that a request comes to."""
        booking = Booking()
        starts = self._start(booking, request.start, request.time_zone, now)
        _check_title(booking, request.title, request.description)
        senders = self._senders(booking, request.senders)
        sources = self._sources(booking, request, senders)
        booking.problems += rules.check(request.admission)
        booking.problems += group_terms.check_names(request.security)
        if request.protocol == "any" and request.port:
            booking.wrong("port", f'{request.port}; with the protocol "any" there is no port: 0 is needed')
        key = _key(booking, request.supplied)
        if key is not None and self._is_worn(key):
            # RFC 6054: its counters begin anew. And who was admitted to that one could read this one.
            booking.wrong("supplied.key", "another transmission has this key; a key is for one")
        if request.supplied is not None and request.supplied.lifetime < request.lead + request.duration:
            needed = f"lead time and duration together are {request.lead + request.duration} s"
            booking.wrong("supplied.lifetime", f"{request.supplied.lifetime} s; {needed}")
        # What is not known yet is told by a time and an address that do.
        begin = now if starts is None else starts
        address = self._address(booking, request, sources, begin - request.lead, begin + request.duration)
        if starts is None or address is None or booking.problems:
            return booking
        reservation = Reservation(
            id=id,
            owner=owner,
            title=request.title.strip(),
            description=request.description,
            starts=starts,
            ends=starts + request.duration,
            time_zone=request.time_zone,
            lead=float(request.lead),
            address=address,
            from_pool=not request.address,
            protocol=group_terms.PROTOCOLS[request.protocol],
            port=request.port,
            sources=sources,
            senders=senders,
            security=msgspec.to_builtins(request.security),
            supplied_spi=request.supplied.spi if request.supplied else 0,
            supplied_key=key,
            supplied_lifetime=float(request.supplied.lifetime) if request.supplied else 0.0,
            capacity=request.capacity,
            visibility=request.visibility,
            admission=rules.plain(request.admission),
            fee_points=self._settings.fee_points,
            fee_fixed=self._settings.fee_fixed,
            created=now,
            cancelled=None,
            version=1,
        )
        self._check_group(booking, reservation)
        booking.reservation = None if booking.problems else reservation
        return booking

    def change(self, before: Reservation, request: ChangeReservation, now: float) -> Booking:
        """The reservation as it would be. One that ends by the change ends now."""
        booking = Booking(starts=before.starts, address=before.address)
        after = replace(before, version=before.version + 1)
        if isinstance(request.title, str):
            after = replace(after, title=request.title.strip())
        if isinstance(request.description, str):
            after = replace(after, description=request.description)
        _check_title(booking, after.title, after.description)
        if isinstance(request.capacity, int):
            after = replace(after, capacity=request.capacity)
        if isinstance(request.visibility, str):
            after = replace(after, visibility=request.visibility)
        if not isinstance(request.admission, msgspec.UnsetType):
            wrong = rules.check(request.admission)
            booking.problems += wrong
            if not wrong:
                after = replace(after, admission=rules.plain(request.admission))
        if not isinstance(request.senders, msgspec.UnsetType):
            senders = self._senders(booking, request.senders)
            after = replace(after, senders=senders)
            self._check_versions(booking, after.address, (), senders)
            self._check_from(booking, after.sources, senders)
        after = self._move(booking, before, after, request, now)
        if not booking.problems:
            self._check_group(booking, after)
        booking.reservation = None if booking.problems else after
        return booking

    def _move(
        self,
        booking: Booking,
        before: Reservation,
        after: Reservation,
        request: ChangeReservation,
        now: float,
    ) -> Reservation:
        """Start, duration and lead."""
        opened = schedule.opens(before) <= now
        duration = before.ends - before.starts
        if isinstance(request.duration, int):
            duration = float(request.duration)
        if isinstance(request.start, str):
            if opened:
                booking.wrong("start", "the transmission has opened already; its duration may change")
            else:
                starts = self._start(booking, request.start, before.time_zone, now)
                if starts is None:
                    return after
                after = replace(after, starts=starts)
        if isinstance(request.lead, int):
            after = replace(after, lead=float(request.lead))
            # A supplied SA counts from the opening as it was.
            if opened and (schedule.opens(after) > now or before.supplied_key is not None):
                booking.wrong("lead", f"{request.lead} s; the transmission has opened already")
                after = replace(after, lead=before.lead)
        ends = max(after.starts + duration, min(now, before.ends) if opened else 0.0)
        after = replace(after, ends=ends)
        moved = (after.starts, after.ends, after.lead) != (before.starts, before.ends, before.lead)
        if after.starts != before.starts:
            where = "start"
        else:
            where = "duration" if after.ends != before.ends else "lead"
        if after.supplied_key is not None:
            needed = after.ends - schedule.opens(after)
            if needed > max(after.supplied_lifetime, before.ends - schedule.opens(before)):
                lifetime = f"{after.supplied_lifetime:g} s"
                booking.wrong(where, f"{needed:g} s with the lead time; the supplied SA serves {lifetime}")
        if moved and ends > now:
            text = self._pool.conflict(
                after.address,
                _shared(after.sources, after.supplied_key is not None),
                schedule.opens(after),
                after.ends,
                before.id,
                after.from_pool,
            )
            if text:
                booking.wrong(where, text)
        return after

    # The parts

    def _start(self, booking: Booking, start: str, time_zone: str, now: float) -> float | None:
        clock = wall_clock.read(start, time_zone)
        booking.problems += clock.problems
        booking.starts = clock.instant
        if clock.instant is None:
            return None
        if clock.instant < now:
            shown = wall_clock.show(now, time_zone, seconds=True)
            booking.wrong("start", f"{start} has passed; it is {shown}")
        elif clock.instant > now + self._settings.longest_ahead:
            days = int(self._settings.longest_ahead // 86_400)
            booking.wrong("start", f"{start} is too far ahead; at most {days} days are possible")
        return clock.instant

    def _senders(self, booking: Booking, hosts: Sequence[Host]) -> tuple[SenderHost, ...]:
        if len(hosts) > MOST_HOSTS:
            booking.wrong("senders", f"{len(hosts)} hosts; at most {MOST_HOSTS} are possible")
            return ()
        found = []
        labels: set[str] = set()
        for place, host in enumerate(hosts):
            where = f"senders.{place}"
            if host.label in labels:
                booking.wrong(f"{where}.label", f"{host.label!r} is given twice")
            labels.add(host.label)
            source = _address(booking, f"{where}.source", host.source) if host.source else None
            if source is not None and (source.is_multicast or source.is_unspecified):
                booking.wrong(f"{where}.source", f"{source} is no address of a host")
            identity = host.identity
            if identity:
                try:
                    if len(identity) > _LONGEST_PATTERN:
                        raise ValueError(f"a pattern of {len(identity)} characters")
                    identity = IdentityPattern.parse(identity).text
                    if identity == "any":
                        raise ValueError("`any` lets everybody send; name the host, or leave this empty")
                except ValueError as error:
                    booking.wrong(f"{where}.identity", str(error))
            found.append(SenderHost(host.label, identity, source))
        return tuple(found)

    def _sources(
        self, booking: Booking, request: Reserve, senders: Iterable[SenderHost]
    ) -> tuple[IpAddress, ...]:
        if len(request.sources) > MOST_SOURCES:
            booking.wrong("sources", f"{len(request.sources)} sources; at most {MOST_SOURCES} are possible")
            return ()
        found: dict[IpAddress, None] = {}
        for place, text in enumerate(request.sources):
            source = _address(booking, f"sources.{place}", text)
            if source is None:
                continue
            if source.is_multicast or source.is_unspecified:
                booking.wrong(f"sources.{place}", f"{source} is no address of a host")
            elif source in found:
                booking.wrong(f"sources.{place}", f"{source} is given twice")
            found[source] = None
        given = _parsed(request.address)
        if not found and (request.source_specific or (given is not None and is_source_specific(given))):
            found = {host.source: None for host in senders if host.source is not None}
            if not found:
                booking.wrong("sources", "a source-specific transmission needs the addresses of its senders")
        self._check_from(booking, tuple(found), senders)
        return tuple(found)

    def _check_from(
        self, booking: Booking, sources: Sequence[IpAddress], senders: Iterable[SenderHost]
    ) -> None:
        for place, host in enumerate(senders):
            if sources and host.source is not None and host.source not in sources:
                booking.wrong(f"senders.{place}.source", f"{host.source} is not among the sources")

    def _address(
        self, booking: Booking, request: Reserve, sources: Sequence[IpAddress], opens: float, ends: float
    ) -> IpAddress | None:
        if not request.address:
            address = self._pool.take(request.family, request.source_specific, opens, ends)
            if address is None:
                booking.wrong("address", f"no IPv{request.family} address of the pool is free in this time")
        else:
            address = _address(booking, "address", request.address)
            if address is None:
                return None
            text = wrong_with(address) or self._pool.conflict(
                address, _shared(sources, request.supplied is not None), opens, ends
            )
            if text:
                booking.wrong("address", text)
            elif request.source_specific and not is_source_specific(address):
                booking.wrong(
                    "address", f"{address} is no source-specific address: 232.0.0.0/8 and ff3x::/32 are"
                )
        booking.address = address
        if address is not None:
            hosts = [SenderHost(host.label, "", _parsed(host.source)) for host in request.senders]
            self._check_versions(booking, address, sources, hosts)
        return address

    def _check_versions(
        self,
        booking: Booking,
        address: IpAddress,
        sources: Sequence[IpAddress],
        senders: Sequence[SenderHost],
    ) -> None:
        found = [(f"sources.{place}", source) for place, source in enumerate(sources)]
        found += [(f"senders.{n}.source", host.source) for n, host in enumerate(senders) if host.source]
        for where, source in found:
            if source.version != address.version:
                booking.wrong(where, f"{source} is no IPv{address.version} address, as the group's is")

    def _check_group(self, booking: Booking, reservation: Reservation) -> None:
        """What a group cannot be run by, and what would lose data."""
        policy = group_terms.policy_of(reservation, self._settings)
        if policy.supplied is not None and policy.cipher.aead and len(reservation.senders) != 1:
            booking.wrong(
                "senders",
                f"{len(reservation.senders)} hosts; one alone may use a supplied key of {policy.cipher.name}",
            )
        try:
            check(policy)
        except ValueError as error:
            booking.wrong("supplied" if str(error).startswith("supplied") else "security", str(error))
            return
        for text in advice(policy):
            delay = "deactivation_delay" if text.startswith("deactivation") else "activation_delay"
            booking.wrong(f"security.{delay}", text)


def _check_title(booking: Booking, title: str, description: str) -> None:
    if not title.strip() or not title.isprintable():
        booking.wrong("title", "a title has at least one letter, and no character that cannot be printed")
    if any(not (letter.isprintable() or letter in "\r\n\t") for letter in description):
        booking.wrong("description", "it has a character that cannot be printed")


def _address(booking: Booking, where: str, text: str) -> IpAddress | None:
    address = _parsed(text)
    if address is None:
        booking.wrong(where, f"{text[:45]!r} is no IP address")
    return address


def _shared(sources: Sequence[IpAddress], supplied: bool) -> Sequence[IpAddress]:
    """By which an address may be shared: not at all with an SPI of the sender's choice. A host has an SPI of
    an address once, whatever the source, and everybody can see those of others.
    """
    return () if supplied else sources


def _parsed(text: str) -> IpAddress | None:
    """An address without a zone: that would be one of this host only."""
    try:
        return None if "%" in text else ipaddress.ip_address(text.strip())
    except ValueError:
        return None


def _key(booking: Booking, supplied: SuppliedKeys | None) -> SecretBytes | None:
    if supplied is None:
        return None
    try:
        return SecretBytes(bytes.fromhex(supplied.key))
    except ValueError:
        booking.wrong("supplied.key", "it is not in hex: two digits an octet are needed")
        return None


def security_of(reservation: Reservation) -> SecurityPolicy:
    return msgspec.convert(reservation.security, SecurityPolicy)

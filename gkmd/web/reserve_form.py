"""The form of a reservation, and the request that it stands for; and back, to change one."""

from __future__ import annotations

import datetime
import ipaddress
from typing import Any, Final, get_args

import msgspec

from gkmd.api.nouns import Rule, SecurityPolicy, Visibility
from gkmd.api.results import ReservationView
from gkmd.core.algorithms import CIPHER_BY_NAME, INTEGRITY_BY_NAME
from gkmd.core.identity import IdentityPattern
from gkmd.core.money import Money
from gkmd.web.forms import Faults, Form, words
from gkmd.web.shown import duration, zone_of

# Which input shows what is wrong with a field of the request.
PLACES: Final = {
    "title": "title",
    "description": "description",
    "start": "start",
    "time_zone": "time_zone",
    "duration": "duration",
    "lead": "lead",
    "address": "address",
    "family": "family",
    "source_specific": "family",
    "protocol": "protocol",
    "port": "port",
    "sources": "sources",
    "senders": "senders",
    "security": "cipher",
    "security.tek_lifetime": "tek_lifetime",
    "security.kek_lifetime": "kek_lifetime",
    "supplied": "supplied_spi",
    "supplied.key": "supplied_key",
    "supplied.lifetime": "supplied_lifetime",
    "capacity": "capacity",
    "visibility": "visibility",
    "admission": "ways",
    "admission.price": "price",
    "admission.identities": "identities",
    "admission.classes": "classes",
    "owner": "owner",
    "twice": "twice",
    "version": "version",
}
WAYS: Final = ("open", "names", "identities", "classes", "price", "vouchers")
VISIBILITIES: Final = get_args(Visibility)
CIPHERS: Final = tuple(CIPHER_BY_NAME)
INTEGRITIES: Final = tuple(INTEGRITY_BY_NAME)
_FAMILIES: Final = {"4": (4, False), "4s": (4, True), "6": (6, False), "6s": (6, True)}
_POLICY: Final = SecurityPolicy()


def blank(zone: str, now: float, currency: str) -> Form:
    """What the form begins with: the next full hour but one, for an hour; nobody is admitted yet."""
    start = datetime.datetime.fromtimestamp(now + 3600, zone_of(zone)).replace(minute=0, second=0)
    return Form.of(
        start=(start + datetime.timedelta(hours=1)).strftime("%Y-%m-%dT%H:%M"),
        time_zone=zone,
        duration="1h",
        lead="1m",
        family="4",
        protocol="udp",
        port="5004",
        senders="sender",
        visibility="public",
        combine="any",
        currency=currency,
        capacity="0",
        mode=_POLICY.mode,
        cipher=_POLICY.cipher,
        tek_lifetime=duration(_POLICY.tek_lifetime),
        kek_lifetime=duration(_POLICY.kek_lifetime),
        rekey_auth=_POLICY.rekey_auth,
    )


def request_of(form: Form) -> dict[str, Any]:
    """A Reserve as plain data. Problem with the inputs that cannot be read at all."""
    faults = Faults()
    family, source_specific = _FAMILIES.get(form.value("family"), (4, False))
    data: dict[str, Any] = {
        "title": form.text("title"),
        "start": form.text("start"),
        "time_zone": form.text("time_zone") or "UTC",
        "duration": faults.duration("duration", form.text("duration")),
        "description": form.text("description").replace("\r\n", "\n"),
        "lead": faults.duration("lead", form.text("lead") or "0"),
        "address": form.text("address"),
        "family": family,
        "source_specific": source_specific,
        "protocol": form.value("protocol", "udp"),
        "port": faults.whole("port", form.text("port"), 0),
        "sources": words(form.value("sources")),
        "senders": senders_of(form.value("senders"), faults),
        "capacity": faults.whole("capacity", form.text("capacity"), 0),
        "visibility": form.value("visibility", "public"),
        "admission": rule_of(form, faults),
        "security": _security(form, faults),
        "once": form.value("once")[:100],
    }
    supplied = _supplied(form, faults)
    if supplied is not None:
        data["supplied"] = supplied
    if form.text("owner"):
        data["owner"] = form.text("owner")
    if form.ticked("twice"):
        data["twice"] = True
    faults.end()
    return data


def change_of(form: Form, seen: ReservationView) -> dict[str, Any]:
    """A ChangeReservation as plain data: what differs from ``seen``, and its version."""
    faults = Faults()
    wanted: dict[str, Any] = {
        "title": form.text("title"),
        "description": form.text("description").replace("\r\n", "\n"),
        "start": form.text("start"),
        "duration": faults.duration("duration", form.text("duration")),
        "lead": faults.duration("lead", form.text("lead") or "0"),
        "capacity": faults.whole("capacity", form.text("capacity"), 0),
        "visibility": form.value("visibility", seen.visibility),
        "senders": senders_of(form.value("senders"), faults),
        "admission": rule_of(form, faults),
    }
    version = faults.whole("version", form.text("version"), 0)
    faults.end()
    was = {
        "title": seen.title,
        "description": seen.description,
        "start": start_local(seen),
        "duration": seen.duration,
        "lead": seen.lead,
        "capacity": seen.capacity,
        "visibility": seen.visibility,
        "senders": msgspec.to_builtins(seen.senders),
        "admission": msgspec.to_builtins(seen.admission),
    }
    changed = {name: value for name, value in wanted.items() if _plain(value) != _plain(was[name])}
    return {"id": seen.id, "version": version, **changed}


def filled(seen: ReservationView, currency: str) -> Form:
    """The form of a reservation as it is."""
    return Form.of(
        title=seen.title,
        description=seen.description,
        start=start_local(seen),
        time_zone=seen.time_zone,
        duration=duration(seen.duration),
        lead=duration(seen.lead),
        senders="\n".join(" ".join(filter(None, (s.label, s.identity, s.source))) for s in seen.senders),
        capacity=str(seen.capacity),
        visibility=seen.visibility,
        version=str(seen.version),
        **_ways_of(seen.admission, currency),
    )


def start_local(seen: ReservationView) -> str:
    """As an ``input`` of a local time takes it."""
    local = datetime.datetime.fromtimestamp(seen.starts, zone_of(seen.time_zone))
    return local.strftime("%Y-%m-%dT%H:%M:%S" if local.second else "%Y-%m-%dT%H:%M")


def senders_of(text: str, faults: Faults) -> list[dict[str, str]]:
    """Hosts, one a line: label, then an identity, a source address, or both, if any."""
    found = []
    for line in text.splitlines():
        parts = line.split()
        if not parts:
            continue
        host = {"label": parts[0]}
        named = _joined(parts[1:])
        for one in named:
            # An identity has its kind before it; an IPv6 address begins with hex digits.
            host.setdefault("identity" if IdentityPattern.is_meant(one) else "source", one)
        if len(named) > 2:
            faults.add("senders", f"{line[:60]!r}: label, identity and source address are all there is")
        found.append(host)
    return found


def _joined(parts: list[str]) -> list[str]:
    """A distinguished name has spaces within it; an address may come after it."""
    begin = next((place for place, one in enumerate(parts) if one.lower().startswith("dn:")), None)
    if begin is None:
        return parts
    end = len(parts)
    if end - begin > 1 and _is_address(parts[-1]):
        end -= 1
    return [*parts[:begin], " ".join(parts[begin:end]), *parts[end:]]


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def _identities(text: str) -> list[str]:
    """Patterns, one a line or separated by commas; those within a distinguished name are its own."""
    found: list[str] = []
    for line in text.splitlines():
        for number, part in enumerate(line.split(",")):
            within = number and found and found[-1].lower().startswith("dn:")
            if within and not IdentityPattern.is_meant(part.strip()):
                found[-1] += f",{part}"
            elif part.strip():
                found.append(part.strip())
    return [one.strip() for one in found]


def rule_of(form: Form, faults: Faults) -> dict[str, Any]:
    """The rule that the ticked ways make, any or all of them; or the one that was written as JSON."""
    if form.text("rule"):
        return _written(form.text("rule"), faults)
    parts: list[dict[str, Any]] = []
    for way in form.all("ways"):
        if way in ("open", "names", "vouchers"):
            parts.append({way: True})
        elif way in ("identities", "classes"):
            listed = _identities(form.value(way)) if way == "identities" else words(form.value(way))
            if not listed:
                faults.add(way, "at least one is needed")
            parts.append({way: listed})
        elif way == "price":
            price = faults.money("price", form.text("price"), form.text("currency").upper())
            parts.append({"price": price})
        else:
            faults.add("ways", "is not known here")
    if not parts:
        faults.add("ways", "choose who is admitted")
        return {}
    if len(parts) == 1:
        return parts[0]
    return {"all" if form.value("combine") == "all" else "any": parts}


def _written(text: str, faults: Faults) -> dict[str, Any]:
    try:
        found = msgspec.json.decode(text.encode(), type=Rule)
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
        faults.add("rule", str(error))
        return {}
    plain: dict[str, Any] = msgspec.to_builtins(found)
    return plain


def _ways_of(rule: Rule, currency: str) -> dict[str, Any]:
    """The inputs of a rule: ticks when they can say it, else the rule as JSON."""
    parts = rule.any or rule.all or (rule,)
    simple = all(not one.any and not one.all for one in parts)
    names = [way for one in parts for way in WAYS if getattr(one, way)]
    if not simple or len(set(names)) != len(names):
        return {"ways": [], "rule": msgspec.json.encode(rule).decode(), "currency": currency}
    inputs: dict[str, Any] = {"ways": names, "combine": "all" if rule.all else "any", "currency": currency}
    for one in parts:
        if one.price is not None:
            inputs["price"] = str(Money(one.price.currency, one.price.amount)).partition(" ")[0]
            inputs["currency"] = one.price.currency
        if one.identities:
            inputs["identities"] = "\n".join(one.identities)
        if one.classes:
            inputs["classes"] = "\n".join(one.classes)
    return inputs


def _security(form: Form, faults: Faults) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name in ("mode", "cipher", "integrity", "rekey_auth"):
        if form.text(name):
            found[name] = form.text(name)
    if form.text("cipher"):
        found["rekey_cipher"] = form.text("cipher")
        found["rekey_integrity"] = form.text("integrity")
    for name in ("tek_lifetime", "kek_lifetime"):
        if form.text(name):
            found[name] = faults.duration(name, form.text(name))
    return found


def _supplied(form: Form, faults: Faults) -> dict[str, Any] | None:
    spi, key, lifetime = (form.text(f"supplied_{one}") for one in ("spi", "key", "lifetime"))
    if not (spi or key or lifetime):
        return None
    number: int | None = None
    try:
        number = int(spi, 0)
    except ValueError:
        faults.add("supplied_spi", "a number is needed, such as 0x1234abcd")
    seconds = faults.duration("supplied_lifetime", lifetime)
    return {"spi": number, "key": key, "lifetime": seconds}


def _plain(value: Any) -> Any:
    """Lists and tuples alike, without members that say nothing."""
    if isinstance(value, dict):
        return {name: _plain(one) for name, one in value.items() if one not in ("", None, False, [], ())}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    return value

"""Records with every kind of field filled, and a journal call that waits."""

from __future__ import annotations

import threading
from dataclasses import replace
from ipaddress import ip_address
from pathlib import Path
from typing import Protocol

from gkmd.core.address import Path as UdpPath
from gkmd.core.change import (
    Change,
    DataSa,
    Fact,
    GroupRecord,
    IkeSaRecord,
    Journalled,
    MemberRecord,
    PendingRekey,
    RekeySa,
    WrapKey,
)
from gkmd.core.errors import StoreError
from gkmd.core.identity import Identity
from gkmd.core.rng import SeededRng, system_rng
from gkmd.core.secret import SecretBytes
from gkmd.crypto.seal_at_rest import MasterKey
from gkmd.group.platform.records import (
    Account,
    Admission,
    AuditLine,
    Balance,
    Charge,
    Entry,
    ListedName,
    Passkey,
    Posting,
    Reservation,
    SenderHost,
    Tally,
)
from gkmd.store.journal import Done, Journal

RX = Identity.parse("fqdn:rx.example")
TX = Identity.parse("email:tx@example")
_rng = SeededRng("store")


def secret(octets: int = 32) -> SecretBytes:
    return SecretBytes(_rng(octets))


GROUP = GroupRecord(
    name="news",
    epoch=7,
    data_sas=(
        DataSa(0x1234, TX, ip_address("10.0.0.1"), secret(36), 1.5, 61.5, 9.25),
        DataSa(0xFFFFFFFF, None, None, secret(36), 2.5, 62.5),
        DataSa(0x1000, RX, ip_address("fd00::1"), secret(36), 3.5, 63.5),
    ),
    rekey_sas=(
        RekeySa(_rng(16), secret(68), secret(), 1.0, 100.0, 5, 12.0),
        RekeySa(_rng(16), secret(68), None, 2.0, 200.0, 0),
    ),
    next_sender_id=3,
    next_key_id=1,
    pending=(PendingRekey(_rng(300), 2, 3.0, _rng(16), (0x1000,), (0x1234,)),),
    closed=False,
    terms="keyid:news|239.1.1.1",
)
MEMBER = MemberRecord(
    group="news",
    identity=RX,
    receives=True,
    sends=True,
    address=ip_address("10.0.0.2"),
    sender_ids=(0, 65535),
    joined=1.25,
    ike_spi=_rng(8),
    key_path=(WrapKey(1, secret()), WrapKey(0xFFFFFFFF, secret())),
)
IKE_SA = IkeSaRecord(
    spi_i=_rng(8),
    spi_r=MEMBER.ike_spi,
    peer=RX,
    path=UdpPath("10.0.0.1", 848, "10.0.0.2", 4500, True),
    established=1.0,
    cipher="aes-gcm-16-256",
    integrity="",
    prf="prf-hmac-sha2-256",
    key_wrap="kw-5649-256",
    keys=secret(168),
    next_request_id=0,
    expected_request_id=0xFFFFFFFF,
    last_reply=_rng(400),
    pending_request=b"",
)


ACCOUNT = Account(
    id="a-2345",
    login="zoë@example",
    name="Zoë",
    roles=("receiver", "sender"),
    classes=("gold",),
    confirmed=True,
    disabled=False,
    password=SecretBytes(b"$argon2id$v=19$m=19456,t=2,p=1$salt$digest"),
    totp=secret(20),
    totp_step=7,
    passkeys=(Passkey(_rng(16), _rng(77), 3, "key on the ring", 1.5),),
    credit_limit=500,
    credit_currency="EUR",
    created=1.0,
)
RESERVATION = Reservation(
    id="opera-abcdef",
    owner=ACCOUNT.id,
    title="Opera",
    description="",
    starts=100.0,
    ends=200.5,
    time_zone="Europe/Vienna",
    lead=60.0,
    address=ip_address("ff3e::8000:1"),
    from_pool=True,
    protocol=17,
    port=5004,
    sources=(ip_address("2001:db8::1"),),
    senders=(SenderHost("stage", "fqdn:tx.example", ip_address("2001:db8::1")), SenderHost("spare")),
    security={"cipher": "aes-gcm-16-256", "tek_lifetime": 3600},
    supplied_spi=0x1000,
    supplied_key=secret(36),
    supplied_lifetime=600.0,
    capacity=0,
    visibility="public",
    admission={"any": [{"names": True}, {"price": {"amount": 250, "currency": "EUR"}}]},
    fee_points=100,
    fee_fixed=5,
    created=1.0,
    cancelled=None,
    version=1,
)
TALLY = Tally(RESERVATION.id, 2, 3, {"wrong-password": 1}, ((60, 1), (120, 2)), 4)


def listed(number: int, verifier: str = "") -> ListedName:
    return ListedName(RESERVATION.id, f"name{number:06d}@example", verifier)


def entry(number: int) -> Entry:
    postings = (Posting("balance:a-2345", 250), Posting(f"earned:{RESERVATION.id}", -250))
    return Entry(number, float(number), "charge", f"charge:{number}", RESERVATION.id, "EUR", postings, "")


def charge(number: int) -> tuple[Fact, ...]:
    """What one paid admission adds: the admission, its entry, the balance after it, a line of the audit."""
    party, at = f"p-{number:06d}", float(number)
    back = Charge(RESERVATION.id, party, 1, at, "EUR", 200, 50, 10, number, at, number, "a fault")
    paid = Charge(RESERVATION.id, party, 2, at, "EUR", 250, 0, 10, number)
    return (
        Admission(RESERVATION.id, party, at, "price", 250, "EUR", None, None, (back, paid)),
        entry(number),
        Balance("balance:a-2345", "EUR", -250 * (number + 1), number + 1),
        AuditLine(number, float(number), "gkmd", "admitted", RESERVATION.id, {"n": [number]}, "ab", "cd"),
    )


class AnyJournal(Protocol):
    def load(self) -> Journalled: ...
    def read(self, kind: str, after: str, limit: int, descending: bool = False) -> tuple[Fact, ...]: ...
    def submit(self, changes: tuple[Change, ...], done: Done) -> None: ...
    def close(self) -> None: ...


def master_key(octet: int = 1) -> MasterKey:
    return MasterKey(SecretBytes(bytes([octet]) * 32), system_rng)


def open_journal(path: Path, octet: int = 1) -> Journal:
    return Journal.open(path, master_key(octet), system_rng)


def write(journal: AnyJournal, *changes: Change) -> None:
    """Submit as one transaction and wait; raises the StoreError if there is one."""
    answered, answers = threading.Event(), list[StoreError | None]()

    def done(error: StoreError | None) -> None:
        answers.append(error)
        answered.set()

    journal.submit(changes, done)
    assert answered.wait(60)
    if answers[0] is not None:
        raise answers[0]


def member(number: int) -> MemberRecord:
    return replace(MEMBER, identity=Identity.parse(f"fqdn:rx{number}.example"), joined=float(number))


def as_sets(journalled: Journalled) -> tuple[set[object], ...]:
    facts = {(fact.KIND, fact.key, repr(fact)) for fact in journalled.facts}
    return set(journalled.groups), set(journalled.members), set(journalled.ike_sas), facts


def pragma(journal: Journal, text: str) -> object:
    """Carry out a PRAGMA on the journal's own connection; its value if it has one."""
    with journal._using, journal._connection.begin():
        result = journal._connection.exec_driver_sql(f"PRAGMA {text}")
        return result.scalar() if result.returns_rows else None

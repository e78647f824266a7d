"""``gkmd reserve``: transmissions from their booking to their end."""

from __future__ import annotations

import secrets
import time
from pathlib import Path
from typing import Any, Final

import click
import msgspec

from gkmd.api.nouns import Rule
from gkmd.api.rule_words import rule_words
from gkmd.cli.desk import Desk, desk_command, facts, money, rows
from gkmd.cli.reservation_words import joins_text, words_of
from gkmd.cli.reserve_keys import key_options, keys_given
from gkmd.cli.tickets import hand_out, qr_option
from gkmd.cli.unread import Unread, amount, seconds
from gkmd.core.errors import LocalError
from gkmd.core.identity import IdentityPattern

_COLUMNS: Final = ("id", "title", "state", "address", "port", "names", "visibility")
_FACTS: Final = (
    "id",
    "title",
    "state",
    "starts",
    "ends",
    "duration",
    "opens",
    "lead",
    "start_local",
    "time_zone",
    "address",
    "port",
)
_MORE: Final = ("hosts", "keys", "capacity", "visibility", "names", "fee", "owner", "version")
_STATE: Final = click.Choice(["all", "coming", "open", "over", "cancelled"])
_TIMES: Final = ("starts", "ends", "opens")


@click.group()
def reserve() -> None:
    """Reserve transmissions; change, extend, shorten and cancel them; their lists and vouchers."""


def _host(text: str) -> dict[str, Any]:
    """``LABEL[,IDENTITY][,SOURCE]``. A distinguished name has commas within it."""
    label, _, rest = text.partition(",")
    host: dict[str, Any] = {"label": label}
    for part in filter(None, rest.split(",")):
        identity = host.get("identity", "")
        if identity.startswith("dn:") and "=" in part:
            host["identity"] = f"{identity},{part}"
        else:
            host["identity" if IdentityPattern.is_meant(part) else "source"] = part
    return host


def _admission(given: dict[str, Any]) -> dict[str, Any] | None:
    """The rule that the options describe; None when there are none."""
    price = amount(given.pop("price"))
    parts: list[dict[str, Any]] = []
    if given.pop("open_to_all"):
        parts.append({"open": True})
    if given.pop("names"):
        parts.append({"names": True})
    if identities := given.pop("identities"):
        parts.append({"identities": list(identities)})
    if classes := given.pop("classes"):
        parts.append({"classes": list(classes)})
    if given.pop("vouchers"):
        parts.append({"vouchers": True})
    if price is not None:
        parts.append({"price": price})
    everything = given.pop("everything")
    if not parts:
        return None
    return parts[0] if len(parts) == 1 else {"all" if everything else "any": parts}


def _admission_options(command: Any) -> Any:
    for option in (
        click.option("--all", "everything", is_flag=True, help="All that is named is needed, not any of it."),
        click.option("--price", metavar="AMOUNT", help='Admit for money, such as "2.50 EUR".'),
        click.option("--vouchers", is_flag=True, help="Admit by voucher."),
        click.option(
            "--class", "classes", multiple=True, metavar="CLASS", help="Admit subscribers of a class."
        ),
        click.option("--identity", "identities", multiple=True, metavar="PATTERN", help="Admit identities."),
        click.option("--names", is_flag=True, help="Admit who is on the list."),
        click.option("--open", "open_to_all", is_flag=True, help="Admit everybody."),
    ):
        command = option(command)
    return command


def _show(view: dict[str, Any]) -> str:
    rule = msgspec.convert(view["admission"], Rule)
    words = words_of(view)
    last = ("admission", "description") if "description" in words else ("admission",)
    return facts(view | words | {"admission": rule_words(rule)}, (*_FACTS, *_MORE, *last), _TIMES)


@desk_command(reserve)
@click.argument("title")
@click.option("--start", required=True, metavar="TIME", help="Such as 2026-12-24T18:00.")
@click.option(
    "--duration", required=True, metavar="TIME", help="Such as 90m, 1h30m or 1:30; a number needs its unit."
)
@click.option("--time-zone", default="UTC", show_default=True, metavar="ZONE", help="Such as Europe/Berlin.")
@click.option("--description", default="", metavar="TEXT", help="For receivers to read.")
@click.option("--lead", default="60s", show_default=True, metavar="TIME", help="Keys are given out so early.")
@click.option("--address", default="", metavar="ADDRESS", help="A multicast address; else one of the pool.")
@click.option("--ipv6", is_flag=True, help="An address of IPv6 from the pool.")
@click.option("--source", "sources", multiple=True, metavar="ADDRESS", help="Source-specific, from here.")
@click.option(
    "--port", type=int, default=5004, show_default=True, metavar="PORT", help="Of the data; 0: any."
)
@click.option("--host", "hosts", multiple=True, metavar="LABEL[,IDENTITY][,ADDRESS]", help="That may send.")
@click.option("--capacity", type=int, default=0, metavar="NUMBER", help="Most members at once; 0: no limit.")
@click.option(
    "--visibility",
    type=click.Choice(["public", "unlisted", "private"]),
    default="public",
    show_default=True,
    help="In the catalogue, for who has the link, or for who may be admitted.",
)
@click.option("--owner", default="", metavar="LOGIN", help="Reserve for this sender (operators).")
@click.option("--twice", is_flag=True, help="Also when one of this title is reserved for this time already.")
@click.option("--check", is_flag=True, help="Only say what would be wrong.")
@_admission_options
@key_options
def new(
    desk: Desk, check: bool, duration: str, lead: str, hosts: tuple[str, ...], ipv6: bool, **given: Any
) -> None:
    """Reserve a transmission called TITLE."""
    sources = list(given.pop("sources"))
    admission: dict[str, Any] | Unread | None = _admission(given)
    if admission is None:
        ways = "--names, --identity, --class, --vouchers, --price, or --open for everybody"
        admission = Unread("", f"say who is admitted: {ways}")
    request = given | {
        **keys_given(given),
        "admission": admission,
        "sources": sources,
        "duration": seconds(duration),
        "lead": seconds(lead),
        "senders": [_host(text) for text in hosts],
        "family": 6 if ipv6 else 4,
        "source_specific": bool(sources),
        "once": secrets.token_hex(8),
    }
    if not check:
        desk.show(desk.call("reserve", **request), _show)
        return
    found = desk.call("reservation-check", **request)
    desk.show(
        found, lambda view: "\n".join(f"{p['field']}: {p['text']}" for p in view["problems"]) or "all good"
    )
    if found["problems"]:
        raise LocalError("this reservation cannot be made as it is")


@desk_command(reserve, "list")
@click.option("--state", type=_STATE, default="all", help="Only these.")
@click.option("--owner", default="", metavar="LOGIN", help="Of this sender (operators).")
@click.option("--search", default="", metavar="TEXT", help="Only what has this in its title.")
def list_(desk: Desk, **given: Any) -> None:
    """My reservations; an operator's: everybody's."""
    found = desk.pages("reservation-list", "reservations", **given)
    desk.show(found, lambda them: rows(them, (*_COLUMNS, "starts", "ends"), "no reservations", _TIMES))


@desk_command(reserve)
@click.argument("id")
def show(desk: Desk, id: str) -> None:
    """One reservation."""
    desk.show(desk.call("reservation-show", id=id), _show)


@desk_command(reserve)
@click.argument("id")
@click.option("--title", metavar="TEXT", help="Another title.")
@click.option("--description", metavar="TEXT", help="Another description.")
@click.option("--start", metavar="TIME", help="Another start.")
@click.option("--duration", metavar="TIME", help="Longer or shorter: in all, such as 2h.")
@click.option("--lead", metavar="TIME", help="Keys are given out so early, such as 15m.")
@click.option("--capacity", type=int, metavar="NUMBER", help="Most members at once; 0: no limit.")
@click.option("--visibility", type=click.Choice(["public", "unlisted", "private"]), help="Who sees it.")
@click.option(
    "--host", "hosts", multiple=True, metavar="LABEL[,IDENTITY][,ADDRESS]", help="Instead of all hosts."
)
@_admission_options
def change(
    desk: Desk, id: str, duration: str | None, lead: str | None, hosts: tuple[str, ...], **given: Any
) -> None:
    """Change, extend or shorten a reservation, also while it is on. What is not named stays."""
    admission = _admission(given)
    result = desk.call(
        "reservation-change",
        id=id,
        duration=seconds(duration),
        lead=seconds(lead),
        senders=[_host(text) for text in hosts] if hosts else None,
        admission=admission,
        **given,
    )
    desk.show(result, _show)


@desk_command(reserve)
@click.argument("id")
@click.option("--reason", default="", metavar="TEXT", help="For the audit log.")
@click.option("--yes", is_flag=True, help="Do not ask.")
def cancel(desk: Desk, id: str, reason: str, yes: bool) -> None:
    """Cancel a reservation; whoever paid gets it back."""
    if not yes:
        click.confirm(f"Cancel {id} and refund what was charged?", abort=True)
    result = desk.call("reservation-cancel", id=id, reason=reason)
    desk.show(result, lambda view: f"{view['id']}: {view['state']}")


@desk_command(reserve)
@click.argument("id")
@click.option("--search", default="", metavar="TEXT", help="Only who has this in the name.")
def receivers(desk: Desk, id: str, search: str) -> None:
    """Who was admitted, and who is a member now."""
    columns = ("party", "name", "by", "charged", "refunded", "evicted", "member", "at")
    found = desk.pages("receiver-list", "receivers", id=id, search=search)
    desk.show(found, lambda them: rows(them, columns, "nobody was admitted yet", ("at",)))


@desk_command(reserve)
@click.argument("id")
@click.argument("party")
@click.option("--refund", is_flag=True, help="Give back what was charged.")
def evict(desk: Desk, id: str, party: str, refund: bool) -> None:
    """Evict a receiver: it is told to delete the keys and is not admitted again."""
    result = desk.call("receiver-evict", id=id, party=party, refund=refund)
    desk.show(result, lambda _: f"{party} was evicted")


@desk_command(reserve)
@click.argument("id")
@click.option("--watch", is_flag=True, help="Again every two seconds.")
def statistics(desk: Desk, id: str, watch: bool) -> None:
    """Receivers now, peak and total, joins by the minute, refused by reason, rekeys, money."""
    while True:
        found = desk.call("statistics", id=id)
        desk.show(found, statistics_text)
        if not watch:
            return
        time.sleep(2)


def statistics_text(view: dict[str, Any]) -> str:
    """Of a result of the operation ``statistics``."""
    lines = [
        facts(
            view | {"joins": joins_text(view["joins"])},
            ("state", "now", "peak", "total", "joins", "senders", "refused", "rekeys", "next_rekey"),
            ("next_rekey",),
        )
    ]
    lines += [
        f"{one['currency']}: gross {money({'amount': one['gross'], 'currency': one['currency']})}, "
        f"net {money({'amount': one['net'], 'currency': one['currency']})}"
        for one in view["money"]
    ]
    return "\n".join(lines)


@desk_command(reserve, "sender-ticket")
@click.argument("id")
@click.argument("label")
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), metavar="FILE", help="Write the ticket file here."
)
@qr_option
def sender_ticket(desk: Desk, id: str, label: str, output: Path | None, qr: bool) -> None:
    """A ticket for the sender's host LABEL."""
    hand_out(desk, desk.call("sender-ticket", id=id, label=label), output, qr=qr)


@reserve.group()
def names() -> None:
    """The list of names of a reservation."""


@desk_command(names, "list")
@click.argument("id")
@click.option("--search", default="", metavar="TEXT", help="Only names that have this in them.")
def names_list(desk: Desk, id: str, search: str) -> None:
    """The names; never their passwords."""
    found = desk.pages("names-list", "names", id=id, search=search)
    desk.show(found, lambda them: rows(them, ("name", "password"), "the list is empty"))


@desk_command(names, "import")
@click.argument("id")
@click.argument("file", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option("--append", is_flag=True, help="Add to the list instead of replacing it.")
def names_import(desk: Desk, id: str, file: Path, append: bool) -> None:
    """Import a list from CSV: name,password. Passwords are hashed here; a broken line imports nothing."""
    from gkmd.cli.names_import import import_names

    count = import_names(desk, id, file, append=append)
    desk.show({"count": count}, lambda view: f"{id}: {view['count']} names are on the list")


@desk_command(names, "remove")
@click.argument("id")
@click.argument("name")
def names_remove(desk: Desk, id: str, name: str) -> None:
    """Take a name off the list."""
    desk.show(desk.call("name-remove", id=id, name=name), lambda _: f"{name} is off the list")


@reserve.group()
def vouchers() -> None:
    """Vouchers that admit to a reservation."""


@desk_command(vouchers, "new")
@click.argument("id")
@click.option("--count", type=int, default=10, show_default=True, metavar="NUMBER", help="How many codes.")
def vouchers_new(desk: Desk, id: str, count: int) -> None:
    """Make a batch of codes. They are shown this once."""
    result = desk.call("voucher-create", id=id, count=count, once=secrets.token_hex(8))
    desk.show(result, lambda view: "\n".join(view["codes"]))


@desk_command(vouchers, "list")
@click.argument("id")
def vouchers_list(desk: Desk, id: str) -> None:
    """The batches, and how many codes of each are used."""
    columns = ("batch", "count", "held", "used", "created", "revoked")
    found = desk.pages("voucher-list", "batches", id=id)
    desk.show(found, lambda them: rows(them, columns, "no vouchers", ("created", "revoked")))


@desk_command(vouchers, "revoke")
@click.argument("id")
@click.argument("batch")
def vouchers_revoke(desk: Desk, id: str, batch: str) -> None:
    """Revoke the codes of BATCH that nobody has used."""
    result = desk.call("voucher-revoke", id=id, batch=batch)
    desk.show(result, lambda _: f"{batch} is revoked")

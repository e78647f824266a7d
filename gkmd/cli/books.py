"""``gkmd statement``, ``gkmd ledger`` and ``gkmd audit``: what was earned, what was booked, who did what."""

from __future__ import annotations

import json
import secrets
import sys
import time
from typing import Any, Final

import click
import msgspec

from gkmd.api.results import Statement
from gkmd.cli.desk import Desk, desk_command, minor, rows
from gkmd.cli.tables import counted
from gkmd.cli.unread import amount
from gkmd.core.errors import LocalError
from gkmd.core.money import Money

_LINES: Final = ("at", "kind", "party", "name", "gross", "fee", "net")


@desk_command()
@click.argument("id")
@click.option("--csv", "as_csv", is_flag=True, help="Print CSV.")
def statement(desk: Desk, id: str, as_csv: bool) -> None:
    """The statement of the reservation ID: receivers, gross, fees, net."""
    found = desk.whole("statement", "lines", id=id)
    if as_csv:
        from gkmd.api.statement_csv import statement_csv

        click.echo(statement_csv(msgspec.convert(found, Statement)), nl=False)
        return
    desk.show(found, _statement)


def _statement(view: dict[str, Any]) -> str:
    lines = [f"{view['title']} ({view['reservation']}): {counted(view['receivers'], 'receiver')}"]
    for one in view["totals"]:
        currency = one["currency"]
        number = f"{counted(one['charges'], 'charge')}, {counted(one['refunds'], 'refund')}"
        lines.append(
            f"{currency}: gross {minor(one['gross'], currency)}, fees {minor(one['fees'], currency)}, "
            f"net {minor(one['net'], currency)} ({number})"
        )
    if view["lines"]:
        currency = view["totals"][0]["currency"] if len(view["totals"]) == 1 else ""
        shown = [
            one
            | {"at": time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(one["at"]))}
            | ({name: minor(one[name], currency) for name in ("gross", "fee", "net")} if currency else {})
            for one in view["lines"]
        ]
        lines.append(rows(shown, _LINES, ""))
    return "\n".join(lines)


@click.group()
def ledger() -> None:
    """The ledger: accounts, entries, and whether it balances."""


@desk_command(ledger)
@click.option("--search", default="", metavar="TEXT", help="Only what has this in its name.")
def accounts(desk: Desk, search: str) -> None:
    """All accounts with their balances."""
    found = desk.whole("ledger", "accounts", search=search)

    def text(view: dict[str, Any]) -> str:
        shown = [one | {"balance": minor(one["balance"], one["currency"])} for one in view["accounts"]]
        verdict = "balanced" if view["balanced"] else "NOT BALANCED"
        return rows(shown, ("account", "balance", "entries"), "no accounts") + f"\n{verdict}"

    desk.show(found, text)
    if not found["balanced"]:
        raise LocalError("the ledger does not balance")


@desk_command(ledger)
@click.option("--account", default="", metavar="ACCOUNT", help="Only what touches this account.")
@click.option("-n", "--lines", type=click.IntRange(1), metavar="NUMBER", help="Only the last so many.")
def entries(desk: Desk, account: str, lines: int | None) -> None:
    """All entries, oldest first."""
    if lines is None:
        found = desk.pages("ledger-entries", "entries", account=account)
    else:
        found = desk.last("ledger-entries", "entries", lines, account=account)

    def text(view: list[dict[str, Any]]) -> str:
        shown = [
            one
            | {
                "postings": " ".join(
                    f"{name} {Money(one['currency'], value)}" for name, value in one["postings"]
                )
            }
            for one in view
        ]
        return rows(shown, ("number", "kind", "reference", "postings", "memo", "at"), "no entries", ("at",))

    desk.show(found, text)


@ledger.group()
def vouchers() -> None:
    """Vouchers that are worth money on a balance."""


@desk_command(vouchers, "new")
@click.argument("value", metavar="AMOUNT")
@click.option("--count", type=int, default=10, show_default=True, metavar="NUMBER", help="How many codes.")
def vouchers_new(desk: Desk, value: str, count: int) -> None:
    """Make a batch of codes that are worth AMOUNT each. They are shown this once."""
    result = desk.call("value-voucher-create", amount=amount(value), count=count, once=secrets.token_hex(8))
    desk.show(result, lambda view: "\n".join(view["codes"]))


@desk_command(vouchers, "list")
def vouchers_list(desk: Desk) -> None:
    """The batches, and how many codes of each are used."""
    columns = ("batch", "value", "count", "used", "created", "revoked")
    found = desk.pages("value-voucher-list", "batches")
    desk.show(found, lambda them: rows(them, columns, "no vouchers", ("created", "revoked")))


@desk_command(vouchers, "revoke")
@click.argument("batch")
def vouchers_revoke(desk: Desk, batch: str) -> None:
    """Revoke the codes of BATCH that nobody has redeemed."""
    desk.show(desk.call("value-voucher-revoke", id=batch), lambda _: f"{batch} is revoked")


@click.group()
def audit() -> None:
    """The audit log: who reserved, changed, admitted, refused, paid, evicted."""


@desk_command(audit, "log")
@click.option("--subject", default="", metavar="ID", help="Only about this.")
@click.option("--actor", default="", metavar="ID", help="Only by this one.")
@click.option("-n", "--lines", type=int, default=50, show_default=True, metavar="NUMBER", help="How many.")
def log(desk: Desk, subject: str, actor: str, lines: int) -> None:
    """The last lines of the log."""
    found = desk.last("audit", "lines", lines, subject=subject, actor=actor)

    def text(view: list[dict[str, Any]]) -> str:
        shown = [
            one
            | {
                "time": time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(one["at"])),
                "actor": one["actor_name"] or one["actor"],
                "subject": one["subject_name"] or one["subject"],
                "detail": json.dumps(one["detail"]) if one["detail"] else "",
            }
            for one in view
        ]
        return rows(shown, ("number", "time", "actor", "action", "subject", "detail"), "nothing was done yet")

    desk.show(found, text)


@desk_command(audit)
def verify(desk: Desk) -> None:
    """Check the chain of the whole log. Exit status 1 when a line was changed, removed or put in."""
    found = desk.call("audit-verify")
    broken = found["broken"]
    desk.show(
        found,
        lambda view: (
            f"{counted(view['lines'], 'line')}, unbroken; head {view['head']}"
            if broken is None
            else f"line {broken}: {view['why']}"
        ),
    )
    if broken is not None:
        sys.exit(1)

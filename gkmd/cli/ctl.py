"""``gkmd ctl``: the client of the control socket. Tables for people, ``--json`` for programs."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import click

from gkmd.cli.failing import failing_clearly
from gkmd.cli.tables import cell, printable, span, table, until
from gkmd.core.errors import LocalError
from gkmd.core.identity import Identity, IdentityPattern
from gkmd.daemon.control_client import ControlClient

DEFAULT_SOCKETS: Final = ("/run/gkmd/server.sock", "/run/gkmd/member.sock")


@dataclass(slots=True)
class Target:
    """Which daemon, and how to show what it says."""

    socket: Path | None = None
    as_json: bool = False

    def ask(self, command: str, **arguments: str) -> Any:
        with ControlClient(self.path) as client:
            return client.request(command, **arguments)

    @property
    def path(self) -> Path:
        """The socket that was named, or the first of the default ones that exists."""
        if self.socket is not None:
            return self.socket
        for name in DEFAULT_SOCKETS:
            if Path(name).exists():
                return Path(name)
        raise LocalError(f"no daemon found: neither {' nor '.join(DEFAULT_SOCKETS)} exists; name one with -s")

    def show(self, result: Any, text: Callable[[Any], str]) -> None:
        click.echo(json.dumps(result, indent=2) if self.as_json else printable(text(result)))


def _set_socket(ctx: click.Context, _: click.Parameter, value: Path | None) -> None:
    if value is not None:
        ctx.ensure_object(Target).socket = value


def _set_json(ctx: click.Context, _: click.Parameter, value: bool) -> None:
    if value:
        ctx.ensure_object(Target).as_json = True


def _shared(command: Callable[..., None]) -> Callable[..., None]:
    """The options of all of ``gkmd ctl``, taken before and after the word of the command."""
    command = click.option(
        "--json", is_flag=True, expose_value=False, callback=_set_json, help="Print JSON."
    )(command)
    return click.option(
        "-s",
        "--socket",
        type=click.Path(path_type=Path),
        metavar="SOCKET",
        expose_value=False,
        callback=_set_socket,
        help=f"The control socket.  [default: {DEFAULT_SOCKETS[0]}, else {DEFAULT_SOCKETS[1]}]",
    )(command)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@_shared
@click.pass_context
def ctl(ctx: click.Context) -> None:
    """Look at a running server or member, and tell it what to do."""
    ctx.ensure_object(Target)


@ctl.command()
@_shared
@click.pass_obj
def status(target: Target) -> None:
    """How the daemon is, what it has dropped and why."""
    with failing_clearly():
        target.show(target.ask("status"), _status_text)


def _status_text(status: dict[str, Any]) -> str:
    lines = [f"{status['role']} {status['identity']}  (gkmd {status['version']}, pid {status['pid']})"]
    shown = {"role", "identity", "version", "pid", "now", "started", "events", "dropped"}
    rows = {"up": span(status["now"] - status["started"])}
    rows |= {key: cell(value) for key, value in status.items() if key not in shown}
    width = max(len(key) for key in rows)
    lines += [f"  {key.replace('_', ' '):<{width}}  {value}" for key, value in rows.items()]
    for title in ("dropped", "events"):
        if status[title]:
            lines.append(f"{title}:")
            lines += [f"  {count:>8}  {name}" for name, count in status[title].items()]
    return "\n".join(lines)


@ctl.command()
@_shared
@click.pass_obj
def groups(target: Target) -> None:
    """The groups of a server, or those that a member wants."""
    with failing_clearly():
        columns = ["name", "state", "role", "address", "port", "members", "senders", "data_sas", "epoch"]
        columns += ["ticket", "wanted", "refused", "price"]
        times = ("next_rekey", "registration_due", "come_back", "ends")
        target.show(target.ask("groups"), lambda rows: _table(rows, columns, times, "no groups"))


@ctl.command()
@click.argument("reservation")
@_shared
@click.pass_obj
def statistics(target: Target, reservation: str) -> None:
    """Receivers of RESERVATION now, peak and total, joins, refused by reason, rekeys, money (server)."""
    from gkmd.cli.reserve import statistics_text

    with failing_clearly(), ControlClient(target.path) as client:
        target.show(client.call("statistics", {"id": reservation}), statistics_text)


@ctl.command()
@click.argument("group", default="")
@_shared
@click.pass_obj
def members(target: Target, group: str) -> None:
    """The members of GROUP, or of all groups (server)."""
    with failing_clearly():
        columns = ("group", "identity", "role", "address", "sender_ids")
        result = target.ask("members", group=group)
        target.show(result, lambda rows: _table(rows, columns, ("joined",), "no members"))


@ctl.command()
@click.argument("group", default="")
@_shared
@click.pass_obj
def sas(target: Target, group: str) -> None:
    """The SAs of GROUP, or of all groups; never their keys."""
    with failing_clearly():
        columns = ["group", "kind", "spi", "direction", "sender", "source", "destination", "cipher"]
        columns += ["sending", "seconds_left", "next_message_id"]
        result = target.ask("sas", group=group)
        target.show(result, lambda rows: _table(rows, columns, ("expires", "removed_at"), "no SAs"))


@ctl.command()
@click.argument("group")
@_shared
@click.pass_obj
def rekey(target: Target, group: str) -> None:
    """Replace every key of GROUP now (server)."""
    with failing_clearly():
        target.show(target.ask("rekey", group=group), lambda _: f"{group}: every key is being replaced")


@ctl.command()
@click.argument("group")
@click.argument("identity")
@_shared
@click.pass_obj
def remove(target: Target, group: str, identity: str) -> None:
    """Take IDENTITY out of GROUP (server). It may register again as long as the configuration allows it."""
    with failing_clearly():
        result = target.ask("remove", group=group, identity=_exact(target, group, identity))
        target.show(result, lambda _: f"{group}: {identity} was removed")


def _exact(target: Target, group: str, identity: str) -> str:
    """A distinguished name that is written out, as the server has it: in DER."""
    if not identity.startswith("dn:") or "=" not in identity:
        return identity
    try:
        pattern = IdentityPattern.parse(identity)
    except ValueError as error:
        raise LocalError(str(error)) from None
    known = [row["identity"] for row in target.ask("members", group=group)]
    found = sorted({one for one in known if pattern.matches(Identity.parse(one))})
    if len(found) != 1:
        what = "no member is" if not found else f"{len(found)} members are"
        raise LocalError(f"{group}: {what} {identity}; `gkmd ctl members {group} --json` has each in hex")
    return str(found[0])


@ctl.command()
@click.argument("group")
@_shared
@click.pass_obj
def register(target: Target, group: str) -> None:
    """Register with GROUP now, also after leaving it (member)."""
    with failing_clearly():
        target.show(target.ask("register", group=group), lambda _: f"{group}: registering")


@ctl.command()
@click.argument("group")
@_shared
@click.pass_obj
def leave(target: Target, group: str) -> None:
    """Leave GROUP; the others stay (member)."""
    with failing_clearly():
        target.show(target.ask("leave", group=group), lambda _: f"{group}: leaving")


@ctl.command()
@_shared
@click.pass_obj
def metrics(target: Target) -> None:
    """Metrics in Prometheus' text format (server); for a file that its node exporter reads."""
    with failing_clearly():
        target.show(target.ask("metrics"), lambda text: str(text).rstrip())


@ctl.command()
@click.option("-f", "--follow", is_flag=True, help="Go on with what happens from now on.")
@click.option(
    "--level",
    type=click.Choice(["debug", "info", "warning", "error"]),
    default="info",
    show_default=True,
    help="The least level to follow.",
)
@_shared
@click.pass_obj
def events(target: Target, follow: bool, level: str) -> None:
    """What happened last; with --follow also what happens from now on."""
    with failing_clearly(), ControlClient(target.path) as client:
        for event in client.request("recent"):
            _print_event(target, event)
        if follow:
            try:
                for event in client.events(level):
                    _print_event(target, event)
            except (KeyboardInterrupt, BrokenPipeError):
                sys.exit(0)


def _print_event(target: Target, event: dict[str, Any]) -> None:
    if target.as_json:
        click.echo(json.dumps(event))
        return
    clock = time.strftime("%H:%M:%S", time.localtime(event["time"]))
    fields = " ".join(
        f"{key}={cell(value)}" for key, value in event.items() if key not in ("time", "level", "event")
    )
    click.echo(f"{clock} {event['level']:<7} {event['event']} {fields}".rstrip())


def _table(rows: list[dict[str, Any]], columns: Sequence[str], times: Sequence[str], when_empty: str) -> str:
    """The columns that any row has; times are told from now on."""
    if not rows:
        return when_empty
    now = time.time()
    used = [name for name in (*columns, *times) if any(row.get(name) not in (None, "") for row in rows)]
    cells = [[until(row.get(n), now) if n in times else cell(row.get(n)) for n in used] for row in rows]
    return table([name.replace("_", " ") for name in used], cells)

"""``gkmd init``: working configurations with keys and certificates, in files of the right modes."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, TypeVar

import click

from gkmd.cli import templates
from gkmd.cli.failing import failing_clearly
from gkmd.cli.new_files import NewFiles, append_line
from gkmd.cli.templates import listed, quoted
from gkmd.core.errors import ConfigError, LocalError
from gkmd.core.identity import Identity
from gkmd.core.rng import system_rng

T = TypeVar("T")

CA_DAYS: Final = 3650
CERTIFICATE_DAYS: Final = 825
SECRET_OCTETS: Final = 24
COMMON_NAME_CHARACTERS: Final = 64  # X.520
ROLES: Final = ("receiver", "sender", "both")
_FOLDER: Final = click.Path(path_type=Path, file_okay=False)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def init() -> None:
    """Write a working configuration with keys and certificates. Nothing is ever overwritten."""


@init.command()
@click.argument("folder", metavar="DIR", type=_FOLDER)
@click.option(
    "--identity", help="Of the key server, e.g. fqdn:gcks.example.  [default: fqdn: and this host's name]"
)
@click.option(
    "--listen",
    multiple=True,
    metavar="ADDRESS:PORT",
    help="Where to serve; can be repeated.  [default: port 848 everywhere]",
)
@click.option("--group", default="news", show_default=True, help="The name of the first group.")
@click.option("--address", default="239.10.0.1", show_default=True, help="Its multicast address.")
@click.option("--port", default=5004, show_default=True, help="The UDP port of its data; 0: every port.")
@click.option(
    "--sender",
    multiple=True,
    metavar="IDENTITY",
    help="Who may send; can be repeated.  [default: nobody yet]",
)
@click.option(
    "--receiver",
    multiple=True,
    metavar="IDENTITY",
    help="Who may receive; can be repeated.  [default: any member]",
)
@click.option("--self-contained", is_flag=True, help="State and control socket in DIR, too: to try it out.")
def server(
    folder: Path,
    identity: str | None,
    listen: tuple[str, ...],
    group: str,
    address: str,
    port: int,
    sender: tuple[str, ...],
    receiver: tuple[str, ...],
    self_contained: bool,
) -> None:
    """A key server in DIR: configuration, master key, CA, certificate, and a first group."""
    with failing_clearly():
        from gkmd.crypto import issuing  # after --help, which must be quick
        from gkmd.daemon import server_config, values
        from gkmd.daemon.process_config import host_identity

        who = _given("--identity", values.identity, identity or host_identity())
        for text in listen:
            _given("--listen", values.endpoint, text)
        for text in sender:
            _given("--sender", values.pattern, text)
        for text in receiver:
            _given("--receiver", values.pattern, text)
        _given("--group", values.name, group)
        _given("--address", values.multicast, address)
        _given("--port", values.port_or_any, port)

        now = time.time()
        name = f"gkmd CA of {who.shown()}"[:COMMON_NAME_CHARACTERS]
        authority = issuing.make_authority(name, now, CA_DAYS, system_rng)
        own = issuing.make_certificate(authority, _common_name(who), [who], now, CERTIFICATE_DAYS, system_rng)
        files = NewFiles(folder)
        files.add(
            "server.toml",
            templates.SERVER.format(
                file=folder / "server.toml",
                identity=quoted(who.written()),
                listen=templates.addresses("listen", listen, server_config.LISTEN),
                state=quoted("state/state.db" if self_contained else server_config.STATE),
                socket=quoted("server.sock" if self_contained else server_config.CONTROL_SOCKET),
                group=quoted(group),
                address=quoted(address),
                port=port,
                senders=listed(sender),
                receivers=listed(receiver or ("any",)),
            ),
            0o640,
        )
        files.add("psk.toml", templates.PSK_OF_SERVER, 0o640)
        files.add("master.key", system_rng(32).hex() + "\n", 0o400)
        files.add("ca.crt", authority.certificate_pem, 0o644)
        files.add("ca.key", authority.key_pem.reveal(), 0o600)
        files.add("server.crt", own.certificate_pem, 0o644)
        files.add("server.key", own.key_pem.reveal(), 0o640)
        _report(files.write())
        if not sender:
            click.echo(f"note: nobody may send to group {group} yet: fill in `senders`", err=True)
        _next(
            f"gkmd init member rx1 --from {folder} --server ADDRESS --identity fqdn:rx1.example",
            f"gkmd server -c {folder / 'server.toml'}",
            f"gkmd ctl -s {folder / 'server.sock'} members" if self_contained else "gkmd ctl members",
        )


@init.command()
@click.argument("folder", metavar="DIR", type=_FOLDER)
@click.option(
    "--identity", required=True, help="Of this member, e.g. fqdn:rx1.example or dn:CN=rx1,O=Example."
)
@click.option(
    "--server",
    "addresses",
    multiple=True,
    required=True,
    metavar="ADDRESS",
    help="The key server's address, not a name; can be repeated.",
)
@click.option(
    "--from",
    "origin",
    type=_FOLDER,
    metavar="SERVERDIR",
    help="The folder of `gkmd init server`: takes identity and groups from it, and adds the member to it.",
)
@click.option("--server-identity", help="The key server's identity; needed without --from.")
@click.option("--server-port", type=int, help="The key server's port.  [default: that of --from, else 848]")
@click.option(
    "--group", "groups", multiple=True, help="Group to join; can be repeated.  [default: all of --from]"
)
@click.option(
    "--role",
    type=click.Choice(ROLES),
    default="receiver",
    show_default=True,
    help="What it does in the groups.",
)
@click.option(
    "--interface", default="", help="That multicast comes in and goes out by.  [default: as the routes say]"
)
@click.option(
    "--local",
    multiple=True,
    metavar="ADDRESS:PORT",
    help="Where to talk from; port 0 is any.  [default: port 848]",
)
@click.option(
    "--certificate", is_flag=True, help="A certificate under the server's CA instead of a shared secret."
)
@click.option("--self-contained", is_flag=True, help="The control socket in DIR, too: to try it out.")
@click.option("--dry-run", is_flag=True, help="A member that does not touch the kernel's IPsec.")
def member(
    folder: Path,
    identity: str,
    addresses: tuple[str, ...],
    origin: Path | None,
    server_identity: str | None,
    server_port: int | None,
    groups: tuple[str, ...],
    role: str,
    interface: str,
    local: tuple[str, ...],
    certificate: bool,
    self_contained: bool,
    dry_run: bool,
) -> None:
    """A member in DIR, to be copied to its host. Run it where the server's folder is (--from)."""
    with failing_clearly():
        from gkmd.daemon import member_config, server_config, values

        who = _given("--identity", values.identity, identity)
        for text in addresses:
            _given("--server", values.address, text)
        for text in local:
            _given("--local", values.endpoint, text)
        for text in groups:
            _given("--group", values.name, text)
        port = None if server_port is None else _given("--server-port", values.port, server_port)
        if origin is None and (server_identity is None or not groups or certificate):
            raise LocalError("without --from, give --server-identity and --group, and no --certificate")
        ids = {name: f"keyid:{name}" for name in groups}
        if origin is not None:
            config = server_config.load(origin / "server.toml")
            server_identity = server_identity or config.identity.written()
            port = port or config.listen[0][1]
            ids = _groups_of(config.groups, groups)
            for line in _not_allowed(config.groups, list(ids), who, role):
                click.echo(f"note: {line}", err=True)
        assert server_identity is not None
        of_server = _given("--server-identity", values.identity, server_identity)

        files = NewFiles(folder)
        secret = system_rng(SECRET_OCTETS).hex()
        if certificate:
            assert origin is not None
            credentials = templates.CREDENTIALS_CERTIFICATE
            _add_certificate(files, origin, who)
        else:
            credentials = templates.CREDENTIALS_PSK
            if origin is not None:
                _check_not_known(origin, who)
            line = f"{quoted(of_server.written())} = {quoted(secret)}"
            files.add("psk.toml", f"{templates.PSK_OF_MEMBER}{line}\n", 0o640)
        files.add(
            "member.toml",
            templates.MEMBER.format(
                file=folder / "member.toml",
                identity=quoted(who.written()),
                local=templates.addresses("local", local, member_config.LOCAL),
                dataplane='dataplane = "recording"    # a dry run\n' if dry_run else "",
                addresses=listed(addresses),
                port=port or 848,
                server_identity=quoted(of_server.written()),
                socket=quoted("member.sock" if self_contained else member_config.CONTROL_SOCKET),
                credentials=credentials,
                groups="\n".join(
                    templates.MEMBER_GROUP.format(
                        name=quoted(name),
                        id=quoted(group_id),
                        role=quoted(role),
                        interface=f"interface = {quoted(interface)}"
                        if interface
                        else '#interface = "eth0"            # if routes do not say so',
                    )
                    for name, group_id in ids.items()
                ),
            ),
            0o640,
        )
        made = files.write()
        _report(made)
        if self_contained:
            steps = [f"gkmd member -c {folder / 'member.toml'}"]
            steps.append(f"gkmd ctl -s {folder / 'member.sock'} groups")
        else:
            steps = [f"copy {folder} to /etc/gkmd on the member's host", "there: gkmd member"]
            steps.append("there: gkmd ctl groups")
        if not certificate:
            line = f"{quoted(who.written())} = {quoted(secret)}"
            if origin is None:
                steps.insert(0, f"add to psk.toml of the server, and let it read that (SIGHUP): {line}")
            else:
                append_line(origin / "psk.toml", line)
                click.echo(f"  {origin / 'psk.toml'}  (added {who.shown()})")
                steps.insert(0, "if the server runs: `systemctl reload gkmd-server`, or kill -HUP")
        _next(*steps)


def _given(option: str, parse: Callable[[Any], T], value: object) -> T:
    from gkmd.daemon.section import Unexpected
    from gkmd.daemon.section import quoted as shown

    try:
        return parse(value)
    except Unexpected as error:
        raise ConfigError(f"{option}: found {shown(value)}, expected {error}") from None


def _common_name(identity: Identity) -> str:
    return str(identity).partition(":")[2][:COMMON_NAME_CHARACTERS]


def _groups_of(policies: tuple[Any, ...], names: tuple[str, ...]) -> dict[str, str]:
    ids = {policy.name: str(policy.group_id) for policy in policies}
    for name in names:
        if name not in ids:
            raise LocalError(f"the server has no group {name!r}; it has {', '.join(ids) or 'none'}")
    return {name: ids[name] for name in names or ids}


def _not_allowed(policies: tuple[Any, ...], names: list[str], who: Identity, role: str) -> list[str]:
    """What the server's configuration would refuse to this member."""
    found = []
    for policy in policies:
        if policy.name in names:
            if role != "sender" and not any(one.matches(who) for one in policy.receivers):
                found.append(f"group {policy.name} does not let {who.shown()} receive: add it to `receivers`")
            if role != "receiver" and not any(rule.who.matches(who) for rule in policy.senders):
                found.append(f"group {policy.name} does not let {who.shown()} send: add it to `senders`")
    return found


def _check_not_known(origin: Path, who: Identity) -> None:
    import tomllib

    path = origin / "psk.toml"
    try:
        known = tomllib.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise LocalError(f"cannot read {path}: {error}") from None
    if who in map(_identity_or_none, known):
        raise LocalError(f"{path} has a secret for {who.shown()} already; remove that line to give a new one")


def _identity_or_none(text: str) -> Identity | None:
    try:
        return Identity.parse(text)
    except ValueError:
        return None


def _add_certificate(files: NewFiles, origin: Path, who: Identity) -> None:
    from gkmd.core.secret import SecretBytes
    from gkmd.crypto import issuing
    from gkmd.daemon.secret_files import read_public, read_secret

    ca_pem = read_public(origin / "ca.crt", "CA certificate")
    ca_key: SecretBytes = read_secret(origin / "ca.key", "CA key")
    authority = issuing.Issued(ca_pem, ca_key)
    own = issuing.make_certificate(
        authority, _common_name(who), [who], time.time(), CERTIFICATE_DAYS, system_rng
    )
    files.add("ca.crt", ca_pem, 0o644)
    files.add("member.crt", own.certificate_pem, 0o644)
    files.add("member.key", own.key_pem.reveal(), 0o640)


def _report(made: list[Path]) -> None:
    click.echo("Written:")
    for path in made:
        click.echo(f"  {path}")


def _next(*steps: str) -> None:
    click.echo("Next:")
    for number, step in enumerate(steps, 1):
        click.echo(f"  {number}. {step}")


from gkmd.cli.init_portal import portal  # noqa: E402  it uses what is above

init.add_command(portal)

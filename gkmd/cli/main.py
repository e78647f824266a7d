"""``gkmd``: the entry point. Sub-commands are imported when they are used: a daemon must start quickly."""

from __future__ import annotations

import importlib
from typing import Final

import click

import gkmd

_COMMANDS: Final = {
    "server": ("gkmd.cli.daemons", "server", "Run the key server."),
    "member": ("gkmd.cli.daemons", "member", "Run a member: receiver, sender or both."),
    "ctl": ("gkmd.cli.ctl", "ctl", "Look at a running daemon, and tell it what to do."),
    "portal": ("gkmd.cli.portal", "portal", "Run the portal: pages and the REST API."),
    "reserve": ("gkmd.cli.reserve", "reserve", "Reserve transmissions; their lists, vouchers and receivers."),
    "ticket": ("gkmd.cli.tickets", "ticket", "The catalogue, and tickets to receive."),
    "account": ("gkmd.cli.account", "account", "My account: balance, payments, tokens, password."),
    "user": ("gkmd.cli.users", "user", "Accounts of senders, receivers and operators."),
    "statement": ("gkmd.cli.books", "statement", "What a reservation has earned."),
    "ledger": ("gkmd.cli.books", "ledger", "The accounts and entries of the ledger."),
    "audit": ("gkmd.cli.books", "audit", "Who did what; verify the chain of the log."),
    "call": ("gkmd.cli.call", "call", "Any operation of the API, as JSON."),
    "init": ("gkmd.cli.init", "init", "Write a working configuration with keys and certificates."),
}


class LazyGroup(click.Group):
    """Knows the names and one-line helps of its commands without importing them."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        found = _COMMANDS.get(cmd_name)
        if found is None:
            return None
        command: click.Command = getattr(importlib.import_module(found[0]), found[1])
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, _, text) in _COMMANDS.items()])


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(gkmd.__version__, "-V", "--version", prog_name="gkmd")
def main() -> None:
    """Group key management for secure IP multicast (G-IKEv2, RFC 9838)."""


if __name__ == "__main__":
    main()

"""The reference of all commands, from the commands: ``python -m gkmd.cli.reference > docs/commands.md``."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import click

from gkmd.cli.main import main

_HEAD: Final = """\
# Commands

Made from the code by `python -m gkmd.cli.reference > docs/commands.md`. What the commands are for, and how
they go together: [operations.md](operations.md) and the guides for [operators](guide-operator.md),
[senders](guide-sender.md) and [receivers](guide-receiver.md).

Commands of the platform (`reserve`, `ticket`, `account`, `user`, `statement`, `ledger`, `audit`, `call`) use
the control socket of the server as the operator, or with `--portal URL --token-file FILE` a portal, as the
account of the token. Those with `--login` do what no token may: they sign in by password, and by one-time
code where the account asks for one, and sign out when they are done. The exit status is 0, 2 for a wrong
configuration, and 1 for other trouble.
"""


def commands(
    command: click.Command = main, path: tuple[str, ...] = ("gkmd",)
) -> Iterator[tuple[str, click.Command]]:
    """Every command that is no group, by its whole path."""
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            below = command.get_command(context, name)
            assert below is not None
            yield from commands(below, (*path, name))
    else:
        yield " ".join(path), command


def reference() -> str:
    """The whole document."""
    parts = [_HEAD]
    for path, command in commands():
        parts.append(f"## {path}\n\n{_paragraph(command.help or '')}\n\n```\n{_usage(path, command)}\n```\n")
        rows = [row for option in command.params if (row := _row(option))]
        if rows:
            parts.append("| option | meaning |\n|---|---|\n" + "\n".join(rows) + "\n")
    return "\n".join(parts)


def _usage(path: str, command: click.Command) -> str:
    context = click.Context(command, info_name=path)
    return " ".join([path, *command.collect_usage_pieces(context)])


def _paragraph(text: str) -> str:
    return " ".join(text.split())


def _row(option: click.Parameter) -> str:
    if not isinstance(option, click.Option) or option.hidden:
        return ""
    context = click.Context(click.Command("x"))
    record = option.get_help_record(context)
    if record is None:
        return ""
    names, text = record
    return f"| `{names.replace('|', ', ')}` | {_paragraph(text).replace('|', ', ')} |"


if __name__ == "__main__":
    print(reference(), end="")

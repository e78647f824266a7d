"""``gkmd call``: any operation of the API, as JSON."""

from __future__ import annotations

import json
from typing import Any

import click

from gkmd.api.operations import OPERATIONS
from gkmd.cli.desk import Desk, desk_command
from gkmd.core.errors import LocalError


@desk_command(name="call")
@click.argument("operation", required=False)
@click.argument("request", default="{}")
def call(desk: Desk, operation: str | None, request: str) -> None:
    """Carry out OPERATION with the JSON object REQUEST and print the result; without any, list them."""
    if operation is None:
        width = max(map(len, OPERATIONS))
        for known in OPERATIONS.values():
            click.echo(f"{known.name:<{width}}  {known.summary}")
        return
    if operation not in OPERATIONS:
        raise LocalError(f"there is no operation {operation!r}; `gkmd call` lists them")
    try:
        arguments: Any = json.loads(request)
    except ValueError as error:
        raise LocalError(f"REQUEST is not JSON: {error}") from None
    if not isinstance(arguments, dict):
        raise LocalError('REQUEST must be a JSON object, such as {"id": "..."}')
    click.echo(json.dumps(desk.call(operation, **arguments), indent=2))

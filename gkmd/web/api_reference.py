"""docs/api.md: the OpenAPI document for people."""

from __future__ import annotations

from typing import Any

from gkmd.api.nouns import END

_HEAD = """# The REST API

Made from the code by `python -m gkmd.web.openapi > docs/api.md`; do not edit. The same as a machine reads it
is served by the portal at `/api/v1/openapi.json` (OpenAPI 3.1). All paths are below `/api/v1`.

- `Authorization: Bearer TOKEN`: that of a session (`POST /sessions`) or an API token (`POST /me/tokens`).
- Bodies are `application/json`. Unknown members of requests are refused; results may grow.
- Instants are Unix seconds, durations seconds, money integer minor units of a currency (250 EUR is 2.50
  euro).
- Errors are problem documents (RFC 9457, `application/problem+json`): `code` is for programs, `detail` for
  people, `fields` name what does not do.
- Long lists come in pages: `limit` and `after`; an empty `after` in the result is the end.
- `once` in a request is a word of the caller's choice: the same request with the same word is carried out
  once.

"""


def reference(document: dict[str, Any]) -> str:
    """Markdown."""
    parts = [_HEAD, _problems(document)]
    by_tag: dict[str, list[str]] = {}
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            by_tag.setdefault(operation["tags"][0], []).append(_operation(path, method, operation))
    for tag, found in by_tag.items():
        parts += [f"## /{tag}\n\n", *found]
    parts.append("## Types\n\n")
    parts += [_type(name, schema) for name, schema in document["components"]["schemas"].items()]
    return "".join(parts).rstrip() + "\n"


def _problems(document: dict[str, Any]) -> str:
    codes = document["components"]["schemas"]["Problem"]["properties"]["code"]["enum"]
    return "Codes: " + ", ".join(f"`{code}`" for code in codes) + ".\n\n"


def _operation(path: str, method: str, operation: dict[str, Any]) -> str:
    lines = [f"### {method.upper()} {path}\n\n{operation['summary']} (`{operation['operationId']}`). "]
    lines.append(operation["description"] + "\n\n")
    for one in operation.get("parameters", ()):
        need = ", needed" if one["required"] and one["in"] != "path" else ""
        lines.append(f"- `{one['name']}` in the {one['in']}: {_shape(one['schema'])}{need}\n")
    content = operation.get("requestBody", {}).get("content", {})
    for schema in content.values():
        lines.append(f"- body: {_shape(schema['schema'])}\n")
    for status, answer in operation["responses"].items():
        if status.startswith("2"):
            kind, content = next(iter(answer["content"].items()))
            shape = _shape(content["schema"]) if "schema" in content else f"`{kind}`"
            lines.append(f"- gives {status}: {shape}\n")
    return "".join(lines) + "\n"


def _type(name: str, schema: dict[str, Any]) -> str:
    lines = [f"### {name}\n\n"]
    if "description" in schema:
        lines.append(schema["description"].replace("``", "`") + "\n\n")
    properties = schema.get("properties", {})
    if not properties:
        return lines[0] + "".join(lines[1:]) + "No members.\n\n"
    needed = set(schema.get("required", ()))
    lines.append("| member | type | |\n|---|---|---|\n")
    for member, one in properties.items():
        note = "needed" if member in needed else _default(one)
        lines.append(f"| `{member}` | {_shape(one)} | {note} |\n")
    return "".join(lines) + "\n"


def _default(schema: dict[str, Any]) -> str:
    if "default" not in schema:
        return ""
    value = schema["default"]
    return f"`{str(value).lower() if isinstance(value, bool) else 'null' if value is None else repr(value)}`"


def _shape(schema: dict[str, Any]) -> str:
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return f"[{name}](#{name.lower()})"
    if "enum" in schema:
        return "one of " + ", ".join(f"`{one}`" for one in schema["enum"])
    if "anyOf" in schema:
        return " or ".join(_shape(one) for one in schema["anyOf"])
    kind = schema.get("type", "anything")
    if kind == "array":
        if "prefixItems" in schema:
            return "array of " + ", ".join(_shape(one) for one in schema["prefixItems"])
        items = schema.get("items")
        inner = _shape(items) if isinstance(items, dict) else "anything"
        return f"array of {inner}" + _limits(schema, "minItems", "maxItems", "")
    if kind == "string":
        text = "string" + _limits(schema, "minLength", "maxLength", " characters")
        pattern = schema.get("pattern", "").replace(END, "$")
        return f"{text} like `{pattern}`".replace("|", "\\|") if pattern else text
    return str(kind) + _limits(schema, "minimum", "maximum", "")


def _limits(schema: dict[str, Any], low: str, high: str, unit: str) -> str:
    least, most = schema.get(low), schema.get(high)
    if least is None and most is None:
        return ""
    if most is None:
        return f", at least {least}{unit}"
    return f", at most {most}{unit}" if least is None else f", {least} to {most}{unit}"

"""The API's document (OpenAPI 3.1), made from the table of operations and the types of their requests and
results; and docs/api.md, made from the document: ``python -m gkmd.web.openapi > docs/api.md``.
"""

from __future__ import annotations

import copy
import inspect
import re
from typing import Any, Final

import msgspec

import gkmd
from gkmd.api import problem
from gkmd.api.operations import OPERATIONS, Operation

PREFIX: Final = "/api/v1"
_REF: Final = "#/components/schemas/{name}"
_BRACES: Final = re.compile(r"\{(\w+)\}")
_PROBLEM: Final = "application/problem+json"
_STATUSES: Final = {
    400: "The request is malformed",
    401: "Sign in, or show a token",
    402: "It costs more than there is",
    403: "Not allowed",
    404: "There is no such thing",
    409: "It does not fit what is there",
    413: "The body is too large",
    415: "The body is no JSON",
    422: "A field does not do; `fields` say which and why",
    429: "Too often; see Retry-After",
    500: "A fault of the server",
    502: "A payment provider failed",
    503: "Not now; see Retry-After",
}


def document() -> dict[str, Any]:
    """The same for the same code, byte for byte."""
    types = [one.request for one in OPERATIONS.values()] + [one.result for one in OPERATIONS.values()]
    _, found = msgspec.json.schema_components(list(dict.fromkeys(types)), ref_template=_REF)
    schemas = {_short(name): _tidied(schema) for name, schema in found.items()}
    paths: dict[str, Any] = {}
    bodies: dict[str, Any] = {}
    for operation in OPERATIONS.values():
        paths.setdefault(operation.path, {})[operation.method.lower()] = _operation(
            operation, schemas, bodies
        )
    paths["/reservations/{id}/statistics/stream"] = {"get": _stream(schemas)}
    paths["/reservations/{id}/statement.csv"] = {"get": _statement(schemas)}
    everything = {**schemas, **bodies}
    kept = {name: everything[name] for name in sorted(_reached(paths, everything))}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "gkmd platform",
            "version": gkmd.__version__,
            "description": "Reservations of secure multicast transmissions, admission of receivers, billing. "
            "Instants are Unix seconds, durations seconds, money integer minor units. Results may grow: "
            "ignore members that you do not know. Requests with unknown members are refused.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": PREFIX}],
        "security": [{"bearer": []}],
        "paths": paths,
        "components": {
            "schemas": {**kept, "Problem": _problem_schema()},
            "responses": {str(status): _problem_answer(status) for status in _STATUSES},
            "securitySchemes": {
                "bearer": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "A session's token (sign-in) or an API token (token-create).",
                }
            },
        },
    }


def _short(name: str) -> str:
    """Of two types with one name msgspec gives both their modules."""
    module, _, last = name.rpartition(".")
    return f"{last}Asked" if module.endswith("requests") else last


def _tidied(schema: Any) -> Any:
    """References by the short names, descriptions in one line, no empty lists."""
    if isinstance(schema, list):
        return [_tidied(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    tidy = {}
    for name, value in schema.items():
        if name == "$ref":
            prefix, _, last = value.rpartition("/")
            tidy[name] = f"{prefix}/{_short(last)}"
        elif name == "description" and isinstance(value, str):
            tidy[name] = " ".join(value.split())
        elif (name == "title" and isinstance(value, str)) or (name == "required" and value == []):
            continue
        else:
            tidy[name] = _tidied(value)
    return tidy


def _schema_of(kind: type[Any], schemas: dict[str, Any]) -> dict[str, Any]:
    asked = kind.__module__.endswith("requests")
    name = f"{kind.__name__}Asked" if asked and f"{kind.__name__}Asked" in schemas else kind.__name__
    found: dict[str, Any] = schemas[name]
    return found


def _operation(operation: Operation, schemas: dict[str, Any], bodies: dict[str, Any]) -> dict[str, Any]:
    request = _schema_of(operation.request, schemas)
    properties = dict(request.get("properties", {}))
    required = request.get("required", [])
    in_path = _BRACES.findall(operation.path)
    parameters = [
        {"name": name, "in": "path", "required": True, "schema": properties.pop(name)} for name in in_path
    ]
    statuses = {400, 422, 429, 500, 503}
    told: dict[str, Any] = {
        "operationId": operation.name,
        "summary": operation.summary,
        "tags": [operation.path.split("/")[1]],
        "description": _access(operation),
    }
    if operation.method in ("GET", "DELETE"):
        parameters += [
            {"name": name, "in": "query", "required": name in required, "schema": schema}
            for name, schema in properties.items()
        ]
    elif operation.name == "provider-call":
        statuses |= {413}
        parameters += [
            {
                "name": name,
                "in": "header",
                "required": False,
                "schema": {"type": "string", "maxLength": 1000},
            }
            for name in ("Gkmd-Signature", "Stripe-Signature")
        ]
        anything = {"schema": {"type": "object"}}
        told["requestBody"] = {"required": True, "content": {"application/json": anything}}
    elif properties:
        statuses |= {413, 415}
        must = [name for name in required if name not in in_path]
        reference = _body(operation, properties, must, bodies, request)
        told["requestBody"] = {
            "required": bool(must),
            "content": {"application/json": {"schema": {"$ref": _REF.format(name=reference)}}},
        }
    statuses |= {401, 403, 404, 409, 402}
    if parameters:
        told["parameters"] = parameters
    if operation.access == "anyone":
        told["security"] = [{}, {"bearer": []}]
    result = _REF.format(name=operation.result.__name__)
    told["responses"] = {
        str(operation.status): {
            "description": "Done",
            "content": {"application/json": {"schema": {"$ref": result}}},
        }
    } | {str(one): {"$ref": f"#/components/responses/{one}"} for one in sorted(statuses)}
    return told


def _body(
    operation: Operation,
    properties: dict[str, Any],
    required: list[str],
    bodies: dict[str, Any],
    request: dict[str, Any],
) -> str:
    """A request without what is in the path, as a schema of its own."""
    name = operation.request.__name__
    if not _BRACES.findall(operation.path):
        return name
    name = f"{name}Body"
    schema: dict[str, Any] = {"type": "object", "properties": properties, "additionalProperties": False}
    if required:
        schema["required"] = required
    if "description" in request:
        schema["description"] = request["description"]
    bodies[name] = schema
    return name


def _access(operation: Operation) -> str:
    who = {
        "anyone": "Anyone may call it.",
        "signed-in": "For who is signed in.",
        "sender": "For senders; operators may, too.",
        "operator": "For operators.",
    }[operation.access]
    if operation.scope is not None:
        return f"{who} An API token needs the scope `{operation.scope}`."
    return who if operation.access == "anyone" else f"{who} It takes a session; no API token will do."


def _stream(schemas: dict[str, Any]) -> dict[str, Any]:
    text = "Server-sent events: `statistics` with a Statistics object, `over` at the end, `problem`."
    found = _of_reservation(schemas, "statistics-stream", text, "A stream", "text/event-stream")
    return found | {"summary": "The statistics of a reservation, whenever they change"}


def _statement(schemas: dict[str, Any]) -> dict[str, Any]:
    text = "All lines and the totals; the columns are in docs/ledger.md."
    found = _of_reservation(schemas, "statement-csv", text, "A file", "text/csv")
    return found | {"summary": "The statement of a reservation as CSV"}


def _of_reservation(
    schemas: dict[str, Any], name: str, text: str, answer: str, media_type: str
) -> dict[str, Any]:
    """What a sender is given of a reservation beside the table of operations."""
    refusals = (400, 401, 403, 404, 422, 429, 503)
    identifier = schemas["ById"]["properties"]["id"]
    return {
        "operationId": name,
        "tags": ["reservations"],
        "description": f"{text} For senders; operators may, too. An API token needs the scope `read`.",
        "parameters": [{"name": "id", "in": "path", "required": True, "schema": copy.deepcopy(identifier)}],
        "responses": {"200": {"description": answer, "content": {media_type: {}}}}
        | {str(one): {"$ref": f"#/components/responses/{one}"} for one in refusals},
    }


def _problem_schema() -> dict[str, Any]:
    return {
        "description": " ".join((inspect.getdoc(problem) or "").split()),
        "type": "object",
        "required": ["type", "title", "status", "code", "detail"],
        "properties": {
            "type": {"type": "string"},
            "title": {"type": "string"},
            "status": {"type": "integer"},
            "code": {"enum": list(problem.CODES)},
            "detail": {"type": "string"},
            "fields": {
                "type": "array",
                "items": {
                    "type": "object",
                    "required": ["field", "text"],
                    "properties": {"field": {"type": "string"}, "text": {"type": "string"}},
                },
            },
            "reason": {"type": "string"},
            "come_back": {"type": "number"},
        },
    }


def _problem_answer(status: int) -> dict[str, Any]:
    answer: dict[str, Any] = {
        "description": _STATUSES[status],
        "content": {_PROBLEM: {"schema": {"$ref": _REF.format(name="Problem")}}},
    }
    if status in (429, 503):
        answer["headers"] = {"Retry-After": {"schema": {"type": "integer"}}}
    return answer


def _reached(start: Any, schemas: dict[str, Any]) -> set[str]:
    """Names of the schemas that ``start`` refers to, directly or not."""
    found: set[str] = set()
    waiting: list[Any] = [start]
    while waiting:
        one = waiting.pop()
        if isinstance(one, dict):
            name = str(one.get("$ref", "")).removeprefix(_REF.format(name=""))
            if name in schemas and name not in found:
                found.add(name)
                waiting.append(schemas[name])
            waiting += one.values()
        elif isinstance(one, list):
            waiting += one
    return found


if __name__ == "__main__":
    from gkmd.web.api_reference import reference

    print(reference(document()), end="")

"""The endpoints as an OpenAPI document: made from their declarations, served by `endpoints`."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping
from typing import Any

from worker.declare.endpoint import result_schema
from worker.declare.handler import Endpoint, Handler, Read
from worker.version import __version__

JSON = "application/json"
REFUSALS = {
    "401": "the secret is missing or wrong",
    "409": "the Idempotency-Key was used with another body, or another run is in progress and only one may be",
    "413": "the body is too large",
    "415": "the body is not JSON",
    "422": "a field, parameter or header is invalid; `fields` says which",
    "429": "too many requests; Retry-After says when",
    "503": "requests are off, or the database cannot be reached",
}
ERROR = {
    "type": "object",
    "properties": {"error": {"type": "string"}, "fields": {"type": "array", "items": {"type": "object"}}},
    "required": ["error"],
}
ACCEPTED = {
    "type": "object",
    "properties": {
        "run": {"type": "integer"},
        "state": {"type": "string"},
        "status_url": {"type": "string"},
        "paused": {"type": "string"},
    },
    "required": ["run", "state", "status_url"],
}
SKIPPED = {
    "type": "object",
    "properties": {"run": {"type": "integer"}, "skipped": {"type": "string"}},
    "required": ["run", "skipped"],
}
RUN = {
    "type": "object",
    "properties": {
        "run": {"type": "integer"},
        "name": {"type": "string"},
        "state": {"enum": ["queued", "running", "waiting", "succeeded", "skipped", "dead"]},
        "attempt": {"type": "integer"},
        "asked_at": {"type": "string", "format": "date-time"},
        "started_at": {"type": ["string", "null"], "format": "date-time"},
        "ended_at": {"type": ["string", "null"], "format": "date-time"},
        "paused": {"type": ["string", "null"]},
        "progress": {"type": ["object", "null"]},
        "result": {},
        "error": {"type": ["string", "null"]},
    },
    "required": ["run", "name", "state"],
}
WAIT = {
    "name": "wait",
    "in": "query",
    "description": "Seconds to wait for the outcome.",
    "schema": {"type": "number", "minimum": 0, "maximum": 300},
}
IDEMPOTENCY_KEY = {
    "name": "Idempotency-Key",
    "in": "header",
    "description": "A request that is sent again with the same key is the same run.",
    "schema": {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[ -~]+$"},
}
RUN_NUMBER = {"name": "run", "in": "path", "required": True, "schema": {"type": "integer", "minimum": 0}}


def describe(served: Iterable[tuple[Handler, Endpoint]]) -> dict[str, Any]:
    """OpenAPI 3.1 of the endpoints."""
    paths: dict[str, Any] = {}
    schemas: dict[str, Any] = {}
    for handler, endpoint in served:
        paths[endpoint.path] = {"post": _post(handler, endpoint, schemas), "get": _get(endpoint)}
        paths[endpoint.status_path("{run}")] = {"get": _run(endpoint)}
    return {
        "openapi": "3.1.0",
        "info": {"title": "Hearken", "version": __version__},
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer"},
                "secret": {"type": "apiKey", "in": "query", "name": "secret"},
            },
        },
    }


def _post(handler: Handler, endpoint: Endpoint, schemas: dict[str, Any]) -> dict[str, Any]:
    template = f"#/components/schemas/{endpoint.name}.{{model}}"
    result = _defined(result_schema(handler.function, template), endpoint, schemas)
    body = _defined(endpoint.body.model_json_schema(by_alias=True, ref_template=template), endpoint, schemas)
    answers = {
        "200": _answer("what the handler returned, or why it had nothing to do", {"anyOf": [result, SKIPPED]}),
        "202": _answer("the run has not ended", ACCEPTED),
        "500": _answer("the run failed for good", ERROR),
    }
    return {
        "operationId": endpoint.name,
        "summary": (inspect.getdoc(handler.function) or endpoint.name).splitlines()[0],
        "security": [{"bearer": []}, {"secret": []}],
        "parameters": [WAIT, IDEMPOTENCY_KEY],
        "requestBody": {"content": {JSON: {"schema": body}}, "required": bool(body.get("required"))},
        "responses": answers | _refusals("401", "409", "413", "415", "422", "429", "503"),
    }


def _get(endpoint: Endpoint) -> dict[str, Any]:
    if endpoint.read is None:
        return {
            "operationId": f"{endpoint.name}-usage",
            "summary": "How to POST.",
            "responses": {"200": _answer("instructions", {"type": "object"})},
        }
    return {
        "operationId": f"{endpoint.name}-read",
        "summary": (inspect.getdoc(endpoint.read.function) or endpoint.name).splitlines()[0],
        "security": [{"bearer": []}, {"secret": []}],
        "parameters": _parameters(endpoint.read),
        "responses": {"200": _answer("what is there", {})} | _refusals("401", "404", "422", "429", "503"),
    }


def _parameters(read: Read) -> list[dict[str, Any]]:
    schema = read.query.model_json_schema(by_alias=True)
    required = schema.get("required", [])
    return [
        {"name": name, "in": "query", "required": name in required, "schema": of}
        for name, of in schema.get("properties", {}).items()
    ]


def _run(endpoint: Endpoint) -> dict[str, Any]:
    return {
        "operationId": f"{endpoint.name}-run",
        "summary": "The outcome of a run.",
        "security": [{"bearer": []}, {"secret": []}],
        "parameters": [RUN_NUMBER],
        "responses": {"200": _answer("the run", RUN)} | _refusals("401", "404", "429", "503"),
    }


def _defined(schema: Mapping[str, Any], endpoint: Endpoint, schemas: dict[str, Any]) -> dict[str, Any]:
    """The schema without its definitions: these go among the document's, under the endpoint's name."""
    schemas |= {f"{endpoint.name}.{model}": of for model, of in schema.get("$defs", {}).items()}
    return {name: of for name, of in schema.items() if name != "$defs"}


def _refusals(*statuses: str) -> dict[str, Any]:
    said = REFUSALS | {"404": "nothing has this id"}
    return {status: _answer(said[status], ERROR) for status in statuses}


def _answer(description: str, schema: Mapping[str, Any]) -> dict[str, Any]:
    return {"description": description, "content": {JSON: {"schema": schema}}}

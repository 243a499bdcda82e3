"""What `@endpoint` declares: a path of the worker's HTTP server whose POSTs become events of `request/NAME`.

`registry` records it, `http.endpoints` serves it, `requests` appends; then `consumer` calls the handler.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Awaitable, Callable
from typing import Any, get_type_hints

from pydantic import BaseModel, PydanticUserError, TypeAdapter

from worker.declare.handler import Endpoint, Handler, Read, Subscription, refuse

#: Paths that the worker itself serves.
OWN_PATHS = ("/livez", "/readyz", "/health", "/metrics", "/openapi.json")


def reading(handler: str, function: Callable[..., Awaitable[Any]] | None) -> Read | None:
    """What `read=` of the handler's endpoint names. Raises DeclarationError."""
    if function is None:
        return None
    parameters = list(inspect.signature(function, eval_str=True).parameters.values())
    query = parameters[0].annotation if len(parameters) == 2 else None
    if not (inspect.iscoroutinefunction(function) and isinstance(query, type) and issubclass(query, BaseModel)):
        raise refuse(handler, "read= must be an `async def` that takes (query: SomeModel, database)")
    return Read(function, query)


def requested(function: Callable[..., Awaitable[Any]], endpoint: Endpoint, **options: Any) -> Handler:
    """The handler of the requests of an endpoint; `options` are other fields of Handler. Raises DeclarationError."""
    _check(function, endpoint)
    return Handler(
        name=function.__name__,
        function=function,
        subscription=Subscription(endpoint.topic, ("request",)),
        endpoint=endpoint,
        **options,
    )


def _check(function: Callable[..., Awaitable[Any]], endpoint: Endpoint) -> None:
    handler = function.__name__
    if not re.fullmatch(r"[a-z0-9][a-z0-9_-]*", endpoint.name):
        raise refuse(handler, f"endpoint {endpoint.name!r}: its name may only contain a-z, 0-9, - and _")
    if not re.fullmatch(r"(/[A-Za-z0-9._~-]+)+", endpoint.path) or endpoint.path in OWN_PATHS:
        raise refuse(handler, f"path={endpoint.path!r} must be written /like/this, and must not be one of {OWN_PATHS}")
    if not (isinstance(endpoint.body, type) and issubclass(endpoint.body, BaseModel)):
        raise refuse(handler, "body= must be a pydantic model")
    if endpoint.wait < 0 or endpoint.rate <= 0:
        raise refuse(handler, "wait= must not be negative, and rate= must be more than 0")
    try:
        result_schema(function)
    except (NameError, PydanticUserError) as error:
        raise refuse(handler, f"its return type cannot be described as JSON Schema: {error}") from None


def result_schema(function: Callable[..., Awaitable[Any]], ref_template: str = "#/$defs/{model}") -> dict[str, Any]:
    """JSON Schema of what a handler says it returns; its references are made from the template."""
    returned = get_type_hints(function).get("return")
    return {} if returned in (None, type(None)) else TypeAdapter(returned).json_schema(ref_template=ref_template)

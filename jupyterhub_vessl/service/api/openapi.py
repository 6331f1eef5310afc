"""The OpenAPI document, made from the route table and the models of `model.wire`."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from typing import Any

from pydantic.json_schema import models_json_schema

from ...model.wire import ErrorBody
from .route import Route

SCHEMAS = "#/components/schemas/{model}"


def document(routes: Iterable[Route], version: str, prefix: str) -> str:
    """The API's description as JSON text.  ``prefix`` is the service's path, ending in ``/``."""
    routes = tuple(routes)
    models = {m for route in routes for m in (route.answer, route.body) if m is not None} | {ErrorBody}
    ordered = sorted(models, key=lambda model: model.__name__)
    _, schemas = models_json_schema([(m, "serialization") for m in ordered], ref_template=SCHEMAS)
    paths: dict[str, dict[str, Any]] = {}
    for route in routes:
        paths.setdefault(f"/{route.path}", {})[route.verb.lower()] = _operation(route)
    return json.dumps(
        {
            "openapi": "3.1.0",
            "info": {"title": "jupyterhub-vessl", "version": version},
            "servers": [{"url": f"{prefix}api/v1"}],
            "paths": paths,
            "components": {
                "schemas": schemas["$defs"],
                "securitySchemes": {
                    "token": {
                        "type": "apiKey",
                        "in": "header",
                        "name": "Authorization",
                        "description": "A hub token: `token …`",
                    }
                },
            },
        }
    )


def _operation(route: Route) -> dict[str, Any]:
    callers = {
        "person": "A signed-in person.",
        "workspace": "A signed-in person, or the workspace itself with the token of its own server.",
        "spawner": "The hub's spawner only.",
        "anybody": "Anybody.",
    }
    operation: dict[str, Any] = {
        "summary": route.summary,
        "description": callers[route.caller],
        "operationId": re.sub(r"\W+", "_", f"{route.verb.lower()}_{route.path}").strip("_"),
        "parameters": [
            {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
            for name in re.findall(r"{(\w+)}", route.path)
        ]
        + [{"name": name, "in": "query", "schema": {"type": "string"}} for name in route.query],
        "responses": {
            str(route.status): {"description": "As asked", **_content(route.answer)},
            "default": {"description": "Refused, with the reason", **_content(ErrorBody)},
        },
        "security": [] if route.caller == "anybody" else [{"token": []}],
    }
    if route.body is not None:
        operation["requestBody"] = {"required": True, **_content(route.body)}
    return operation


def _content(model: type[Any] | None) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": "object"}
    if model is not None:
        schema = {"$ref": f"#/components/schemas/{model.__name__}"}
    return {"content": {"application/json": {"schema": schema}}}

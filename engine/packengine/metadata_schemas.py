"""What StackStorm 3.9 accepts in a pack's metadata files, as JSON schemas."""

from __future__ import annotations

from typing import Any, Dict

Schema = Dict[str, Any]

_STRING = {"type": "string"}
_OBJECT = {"type": "object"}
_FLAG = {"type": "boolean"}
_COUNT = {"type": "integer", "minimum": 0}
_REQUIRED_STRING = {"type": "string", "required": True}
_TAGS = {"type": "array", "items": {"type": "object"}}
_TYPES = ["array", "boolean", "integer", "null", "number", "object", "string"]


def _parameter(type_schema: Schema) -> Schema:
    """Returns the schema of a parameter's description; ``type_schema`` describes its ``type``."""
    schema: Schema = {
        "type": "object",
        "additionalProperties": False,
        "dependencies": {"exclusiveMaximum": ["maximum"], "exclusiveMinimum": ["minimum"]},
        "properties": {
            "id": _STRING,
            "$schema": _STRING,
            "title": _STRING,
            "description": _STRING,
            "default": {},
            "type": type_schema,
            "required": _FLAG,
            "secret": _FLAG,
            "immutable": _FLAG,
            "position": {"type": "number", "minimum": 0},
            "enum": {"type": "array", "minItems": 1, "uniqueItems": True},
            "pattern": _STRING,
            "minLength": _COUNT,
            "maxLength": _COUNT,
            "minimum": {"type": "number"},
            "maximum": {"type": "number"},
            "exclusiveMinimum": _FLAG,
            "exclusiveMaximum": _FLAG,
            "multipleOf": {"type": "number", "minimum": 0, "exclusiveMinimum": True},
            "minItems": _COUNT,
            "maxItems": _COUNT,
            "uniqueItems": _FLAG,
            "minProperties": _COUNT,
            "maxProperties": _COUNT,
            "dependencies": _OBJECT,
        },
    }
    nested = {"$ref": "#/definitions/parameter"}
    listed = {"type": "array", "minItems": 1, "items": nested}
    mapping = {"type": "object", "additionalProperties": nested}
    schema["properties"].update(
        {
            "items": {"anyOf": [nested, listed]},
            "additionalItems": {"anyOf": [_FLAG, nested]},
            "additionalProperties": {"anyOf": [_FLAG, nested]},
            "properties": mapping,
            "patternProperties": mapping,
            "definitions": mapping,
            "allOf": listed,
            "anyOf": listed,
            "oneOf": listed,
            "not": nested,
        }
    )
    return schema


_SINGLE_TYPE = {"enum": _TYPES}
_ANY_TYPES = {"anyOf": [_SINGLE_TYPE, {"type": "array", "items": _SINGLE_TYPE, "minItems": 1}]}

# A parameter has one type; a result's schema may list several.
_PARAMETER_DEFINITIONS = {"parameter": _parameter(_SINGLE_TYPE)}
_OUTPUT_DEFINITIONS = {"parameter": _parameter(_ANY_TYPES)}

_PARAMETERS = {
    "type": "object",
    "patternProperties": {r"^\w+$": {"$ref": "#/definitions/parameter"}},
    "additionalProperties": False,
}

# Every metadata file may also say these, which StackStorm fills in itself.
_COMPUTED = {"id": _STRING, "ref": _STRING, "uid": _STRING, "metadata_file": _STRING}

PACK = {
    "type": "object",
    "properties": {
        "name": _REQUIRED_STRING,
        "ref": {"type": "string", "pattern": "^[a-z0-9_]+$"},
        "description": _REQUIRED_STRING,
        "version": {
            "type": "string",
            "required": True,
            "pattern": r"^(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)"
            r"(-[\da-z\-]+(\.[\da-z\-]+)*)?(\+[\da-z\-]+(\.[\da-z\-]+)*)?$",
        },
        "author": _REQUIRED_STRING,
        "email": _STRING,
        "keywords": {"type": "array", "items": _STRING},
        "stackstorm_version": {
            "type": "string",
            "pattern": r"^((>?>|>=|=|<=|<?<)\s*[0-9]+\.[0-9]+\.[0-9]+?(\s*,)?\s*)+$",
        },
        "python_versions": {
            "type": "array",
            "items": {"type": "string", "enum": ["2", "3"]},
            "minItems": 1,
            "maxItems": 2,
            "uniqueItems": True,
        },
        "contributors": {"type": "array", "items": {"type": "string", "maxLength": 100}},
        "dependencies": {"type": "array", "items": _STRING},
        "system": _OBJECT,
    },
}

_NOTIFICATION = {
    "type": "object",
    "properties": {
        "message": _STRING,
        "data": _OBJECT,
        "routes": {"type": "array"},
        "channels": {"type": "array"},
    },
    "additionalProperties": False,
}

ACTION = {
    "type": "object",
    "definitions": _PARAMETER_DEFINITIONS,
    "properties": dict(
        _COMPUTED,
        name=_REQUIRED_STRING,
        description=_STRING,
        enabled=_FLAG,
        runner_type=_REQUIRED_STRING,
        entry_point=_STRING,
        pack=_STRING,
        parameters=_PARAMETERS,
        output_schema=_OBJECT,
        tags=_TAGS,
        notify={
            "type": "object",
            "properties": {
                "on-complete": _NOTIFICATION,
                "on-failure": _NOTIFICATION,
                "on-success": _NOTIFICATION,
            },
            "additionalProperties": False,
        },
    ),
    "additionalProperties": False,
}

OUTPUT = {
    "definitions": _OUTPUT_DEFINITIONS,
    "allOf": [{"$ref": "#/definitions/parameter"}],
}

CONFIG = {"definitions": _PARAMETER_DEFINITIONS, "allOf": [_PARAMETERS]}

# What a trigger says of its payload and parameters: any JSON schema, of which the engine and lint
# read the types and properties.
_SHAPE = {
    "type": "object",
    "properties": {
        "type": {"type": ["array", "object", "string"]},
        "properties": {
            "type": ["null", "object"],
            "additionalProperties": {"$ref": "#/definitions/shape"},
        },
    },
}
_SHAPES = {"shape": _SHAPE}

_TRIGGER_TYPE_PROPERTIES = dict(
    _COMPUTED,
    name=_REQUIRED_STRING,
    pack=_STRING,
    description=_STRING,
    payload_schema={"$ref": "#/definitions/shape"},
    parameters_schema={"$ref": "#/definitions/shape"},
    tags=_TAGS,
)

TRIGGER = {
    "type": "object",
    "definitions": _SHAPES,
    "properties": _TRIGGER_TYPE_PROPERTIES,
    "additionalProperties": False,
}

SENSOR = {
    "type": "object",
    "definitions": _SHAPES,
    "properties": dict(
        _COMPUTED,
        class_name=_REQUIRED_STRING,
        pack=_STRING,
        description=_STRING,
        artifact_uri=_STRING,
        entry_point=_REQUIRED_STRING,
        enabled=_FLAG,
        poll_interval={"type": "number"},
        trigger_types={"type": "array", "items": TRIGGER},
    ),
    "additionalProperties": False,
}

RULE = {
    "type": "object",
    "properties": dict(
        _COMPUTED,
        name=_REQUIRED_STRING,
        pack=_STRING,
        description=_STRING,
        enabled=_FLAG,
        context=_OBJECT,
        tags=_TAGS,
        criteria=_OBJECT,
        type={
            "type": "object",
            "properties": {"ref": _REQUIRED_STRING, "parameters": _OBJECT},
            "additionalProperties": False,
        },
        trigger={
            "type": "object",
            "required": True,
            "properties": {"type": _REQUIRED_STRING, "parameters": _OBJECT, "ref": _STRING},
        },
        action={
            "type": "object",
            "required": True,
            "properties": {"ref": _REQUIRED_STRING, "parameters": _OBJECT},
            "additionalProperties": False,
        },
    ),
    "additionalProperties": False,
}

POLICY = {
    "type": "object",
    "properties": dict(
        _COMPUTED,
        name=_REQUIRED_STRING,
        pack=_STRING,
        description=_STRING,
        enabled=_FLAG,
        resource_ref=_REQUIRED_STRING,
        policy_type=_REQUIRED_STRING,
        parameters=_OBJECT,
    ),
    "additionalProperties": False,
}

_REPLY = {
    "enabled": _FLAG,
    "format": _STRING,
    "extra": _OBJECT,
}

ALIAS = {
    "type": "object",
    "properties": dict(
        _COMPUTED,
        name=_REQUIRED_STRING,
        pack=_STRING,
        description=_STRING,
        enabled=_FLAG,
        action_ref=_REQUIRED_STRING,
        formats={
            "type": "array",
            "items": {
                "anyOf": [
                    _STRING,
                    {
                        "type": "object",
                        "properties": {
                            "display": _STRING,
                            "representation": {"type": "array", "items": _STRING},
                        },
                    },
                ]
            },
        },
        ack={"type": "object", "properties": dict(_REPLY, append_url=_FLAG)},
        result={"type": "object", "properties": _REPLY},
        extra=_OBJECT,
        immutable_parameters=_OBJECT,
    ),
    "additionalProperties": False,
}

"""JSON schema as StackStorm uses it: draft 4, with draft 3's ``required: true`` on a property."""

from __future__ import annotations

import contextlib
import copy
import difflib
import re
import sys
from typing import Any, Callable, Dict, Iterable, Iterator, Sequence, Union


@contextlib.contextmanager
def _without_requests() -> Iterator[None]:
    """Keeps jsonschema from loading an HTTP client for remote references, which nothing here has.

    That would double the time a command needs to start.
    """
    if "requests" in sys.modules:
        yield
        return
    sys.modules["requests"] = None  # type: ignore[assignment]  # how an import is refused
    try:
        yield
    finally:
        del sys.modules["requests"]


with _without_requests():
    from jsonschema import Draft3Validator, Draft4Validator, ValidationError, validators

Schema = Dict[str, Any]
# A place in a document: keys of objects and indexes of arrays.
Path = Sequence[Union[str, int]]
# Returns words for a place.
Describe = Callable[[Path], str]

MASK = "********"

ANY_TYPE: Schema = {
    "anyOf": [
        {"type": name} for name in ("array", "boolean", "integer", "number", "object", "string")
    ]
}

Validator = validators.extend(
    Draft4Validator,
    {
        "properties": Draft3Validator.VALIDATORS["properties"],
        # Handled where a property is described, by the line above.
        "required": lambda validator, required, instance, schema: None,
    },
)


class SchemaError(ValueError):
    """A value does not fit its schema; the message is one line and names the place.

    :param remedy: what to do about it.
    """

    def __init__(self, message: str, remedy: str = "correct it") -> None:
        super().__init__(message)
        self.remedy = remedy


_REMEDIES = {"required": "add it", "additionalProperties": "remove it, or correct its spelling"}


def validate(instance: Any, schema: Schema, describe: Describe) -> Any:
    """Returns a copy of the instance with defaults filled in.

    :param describe: returns words for a place, such as :func:`dotted`.
    :raises SchemaError: with the first thing that does not fit.
    """
    try:
        instance = with_defaults(instance, schema)
        lenient = allow_none_for_optional(schema)
    except (AttributeError, TypeError, RecursionError) as error:
        raise SchemaError(f"its schema cannot be used: {error}", "correct the schema") from error
    check(instance, lenient, describe)
    return instance


def check(instance: Any, schema: Schema, describe: Describe) -> None:
    """Checks that the instance fits, adding no defaults.

    :param describe: returns words for a place, such as :func:`dotted`.
    :raises SchemaError: with the first thing that does not fit.
    """
    try:
        errors = sorted(
            Validator(schema).iter_errors(instance), key=lambda error: [str(p) for p in error.path]
        )
    except Exception as error:  # jsonschema raises many kinds for what is no schema
        place = _place_of_key(instance)
        if place is not None:
            key = f"the key {place[-1]!r} is not text"
            raise SchemaError(f"{describe(place[:-1])}: {key}", "quote it") from error
        words = " ".join(f"{type(error).__name__}: {error}".split())[:300]
        raise SchemaError(f"its schema cannot be used: {words}", "correct the schema") from error
    if errors:
        remedy = _REMEDIES.get(errors[0].validator, "correct it")
        raise SchemaError(_message(errors[0], schema, describe), remedy)


def _place_of_key(instance: Any) -> tuple[Any, ...] | None:
    """Returns the place of the first key that is not text, None when there is none."""
    waiting: list[tuple[tuple[Any, ...], Any]] = [((), instance)]
    seen: set[int] = set()  # YAML can make a list hold itself
    while waiting:
        place, value = waiting.pop()
        if id(value) in seen or not isinstance(value, (dict, list)):
            continue
        seen.add(id(value))
        children = value.items() if isinstance(value, dict) else enumerate(value)
        for key, child in children:
            if isinstance(value, dict) and not isinstance(key, str):
                return (*place, key)
            waiting.append(((*place, key), child))
    return None


def _message(error: ValidationError, schema: Schema, describe: Describe) -> str:
    path = tuple(error.path)
    if error.validator == "required":  # draft 3 reports the missing property as part of the path
        return f"{describe(path)} is required"
    if error.validator == "additionalProperties":
        known = error.schema.get("properties", {})
        unknown = sorted(set(error.instance) - set(known), key=str)
        settable = [name for name, each in known.items() if not each.get("immutable")]
        return f"{describe(path + tuple(unknown[:1]))} is not known{nearest(unknown[0], settable)}"
    if _is_secret(schema, path):
        return f"{describe(path)} has a value that does not fit its {error.validator}"
    hint = nearest(error.instance, error.validator_value) if error.validator == "enum" else ""
    return "{}: {}{}".format(describe(path), " ".join(error.message.split()), hint)


def nearest(name: object, known: Iterable[object]) -> str:
    """Returns ``, nearest: <name>`` to end a message with; nothing when no known name is near."""
    near = difflib.get_close_matches(str(name), [str(each) for each in known], n=1, cutoff=0.5)
    return f", nearest: {near[0]}" if near else ""


def _is_secret(schema: Any, path: Path) -> bool:
    for key in path:
        if not isinstance(schema, dict):
            return False
        if isinstance(key, int):
            items = schema.get("items", {})
            schema = items if isinstance(items, dict) else {}
        else:
            schema = schema.get("properties", {}).get(key, {})
        if schema.get("secret"):
            return True
    return False


def with_defaults(instance: Any, schema: Schema) -> Any:
    """Returns a copy in which absent (or None) properties have their schema's default."""
    return _fill(copy.deepcopy(instance), schema)


def _fill(instance: Any, schema: Schema) -> Any:
    if isinstance(instance, dict):
        for name, child in (schema.get("properties") or {}).items():
            if instance.get(name) is None and "default" in child:
                instance[name] = copy.deepcopy(child["default"])
            if instance.get(name) is not None:
                instance[name] = _fill(instance[name], child)
    elif isinstance(instance, list) and isinstance(schema.get("items"), dict):
        instance = [_fill(item, schema["items"]) for item in instance]
    return instance


def allow_none_for_optional(schema: Schema) -> Schema:
    """Returns a copy in which properties that are optional without a default may be None."""
    result = copy.deepcopy(schema)
    for name, child in (result.get("properties") or {}).items():
        if child.get("default") is None and ("default" in child or not child.get("required")):
            result["properties"][name] = _nullable(child)
        for part in ("properties", "items"):
            if isinstance(child.get(part), dict) and child[part]:
                result["properties"][name] = _nullable_parts(result["properties"][name])
    return result


def _nullable(schema: Schema) -> Schema:
    for combination in ("anyOf", "oneOf"):
        if combination in schema:
            schema[combination] = schema[combination] + [{"type": "null"}]
            return schema
    kind = schema.get("type", "string")
    kinds = list(kind) if isinstance(kind, list) else [kind]
    schema["type"] = kinds if "null" in kinds else [*kinds, "null"]
    return schema


def _nullable_parts(schema: Schema) -> Schema:
    if schema.get("properties"):
        return allow_none_for_optional(schema)
    if isinstance(schema.get("items"), dict) and schema["items"].get("properties"):
        schema["items"] = allow_none_for_optional(schema["items"])
    return schema


def mask(value: Any, schema: Any) -> Any:
    """Returns a copy of the value with everything its schema calls secret replaced.

    A value whose shape differs from the schema is left as it is, as in StackStorm.
    """
    if not isinstance(schema, dict):
        return value
    if schema.get("secret"):
        return MASK
    if isinstance(value, dict) and schema.get("type") in (None, "object"):
        properties = schema.get("properties") or {}
        rest = schema.get("additionalProperties")
        return {
            name: mask(child, properties.get(name, _pattern_schema(schema, name) or rest))
            for name, child in value.items()
        }
    if isinstance(value, list) and schema.get("type") == "array":
        return [mask(item, schema.get("items")) for item in value]
    return value


def _pattern_schema(schema: Schema, name: str) -> Any:
    for pattern, child in (schema.get("patternProperties") or {}).items():
        if re.search(pattern, name):
            return child
    return None


def dotted(path: Path) -> str:
    """Returns a place in a document as ``a.b[0].c``, for :func:`validate` and :func:`check`."""
    words = ""
    for key in path:
        words += f"[{key}]" if isinstance(key, int) else f".{key}"
    return words.lstrip(".") or "the document"

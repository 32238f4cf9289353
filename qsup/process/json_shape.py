"""JSON of attrs classes and back, strictly: what is read has exactly the types that were written.

cattrs alone is lax ("4" becomes 4, "false" becomes True, a dict becomes a list): every leaf and collection has a hook here.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, TypeVar, get_args, get_origin

from cattrs import BaseValidationError, Converter, transform_error

T = TypeVar("T")


def text_of(value: object) -> str:
    """The JSON text of an attrs object: a field a line, names in the order of the class, sets sorted.

    json's own indenting would take its slow encoder, four times the time, and a start writes three records.
    """
    fields = _CONVERTER.unstructure(value)
    return "{\n" + ",\n".join(f" {_dumps(name)}: {_dumps(item)}" for name, item in fields.items()) + "\n}\n"


def _dumps(item: object) -> str:
    return json.dumps(item, ensure_ascii=False, allow_nan=False)


def document_of(text: str) -> dict[str, Any]:
    """The JSON object in a text.

    Raises:
        ValueError: it is not JSON, or not an object.
    """
    try:
        document = json.loads(text)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    if not isinstance(document, dict):
        raise ValueError("it is not a JSON object")
    return document


def structure(document: object, kind: type[T]) -> T:
    """The object of an attrs class. Unknown names, missing names and other types than the class' own are refused.

    Raises:
        ValueError: one sentence that names each place that is wrong.
    """
    try:
        return _CONVERTER.structure(document, kind)
    except (BaseValidationError, ValueError, TypeError, AttributeError) as error:
        raise ValueError("; ".join(transform_error(error))) from error


def _exactly(kind: type, *accepted: type) -> Callable[[Any, Any], Any]:
    def check(value: Any, _: Any) -> Any:
        if type(value) not in accepted:
            raise TypeError(f"{value!r} is not of type {kind.__name__}")
        return kind(value)

    return check


def _structure_tuple(value: Any, kind: Any) -> tuple[Any, ...]:
    kinds = get_args(kind)
    items = _list_of(value)
    if kinds[-1] is Ellipsis:
        return tuple(_CONVERTER.structure(item, kinds[0]) for item in items)
    if len(items) != len(kinds):
        raise ValueError(f"{value!r} has {len(items)} items instead of {len(kinds)}")
    return tuple(_CONVERTER.structure(item, item_kind) for item, item_kind in zip(items, kinds, strict=True))


def _structure_frozenset(value: Any, kind: Any) -> frozenset[Any]:
    (item_kind,) = get_args(kind)
    return frozenset(_CONVERTER.structure(item, item_kind) for item in _list_of(value))


def _list_of(value: Any) -> list[Any]:
    if type(value) is not list:
        raise TypeError(f"{value!r} is not a list")
    return value


def _converter() -> Converter:
    converter = Converter(forbid_extra_keys=True)
    for kind, accepted in ((int, (int,)), (str, (str,)), (bool, (bool,)), (float, (float, int))):
        converter.register_structure_hook(kind, _exactly(kind, *accepted))
    converter.register_structure_hook_func(_is_tuple, _structure_tuple)
    converter.register_structure_hook_func(_is_frozenset, _structure_frozenset)
    converter.register_unstructure_hook_func(_is_frozenset, sorted)
    return converter


def _is_tuple(kind: Any) -> bool:
    origin: object = get_origin(kind)
    return origin is tuple


def _is_frozenset(kind: Any) -> bool:
    origin: object = get_origin(kind)
    return origin is frozenset


_CONVERTER = _converter()

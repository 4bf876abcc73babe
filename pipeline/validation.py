"""Turns a failed validation of a user's file into one line per problem that a person can act on."""

import json
import re
from collections.abc import Callable, Iterator, Sequence
from difflib import get_close_matches
from typing import Any, get_args, get_origin

from pydantic import BaseModel, ConfigDict, ValidationError

from pipeline.errors import PipelineError
from pipeline.words import one_line

_MAX_PROBLEMS = 6
_MAX_VALUE_CHARS = 60


class StrictModel(BaseModel):
    """Base of everything parsed from a user's file: no unknown keys, no silent conversions."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


def suggest(name: str, valid: Sequence[str]) -> str:
    """ "; did you mean "x"?" when a valid name is near, else the list of valid names."""
    near = get_close_matches(name, valid, n=1, cutoff=0.6)
    if near:
        return f'; did you mean "{near[0]}"?'
    return f"; valid: {', '.join(valid)}" if valid else ""


def input_error(
    error: ValidationError,
    source: str,
    model: type[BaseModel],
    table_of: Callable[[str], Sequence[str]] = lambda _: (),
) -> PipelineError:
    """Describe every problem in `error` as "source: key.path = value: what is wrong".

    Args:
        error: what pydantic raised while validating into `model`.
        source: file (and table) the input came from.
        model: where key names are looked up for suggestions.
        table_of: key path of the table inside the file from which a top-level key came.
    """
    problems = [_problem(dict(item), source, model, table_of) for item in error.errors()]
    shown = problems[:_MAX_PROBLEMS]
    if len(problems) > len(shown):
        shown.append(f"{source}: and {len(problems) - len(shown)} more problems")
    return PipelineError("\n".join(shown))


def _problem(
    item: dict[str, Any],
    source: str,
    model: type[BaseModel],
    table_of: Callable[[str], Sequence[str]],
) -> str:
    location, models, inner = _walk(model, [one_line(str(part)) for part in item["loc"]])
    table = table_of(location[0]) if location else ()
    path = ".".join([*table, *location])
    context = item.get("ctx", {})
    kind, message = item["type"], one_line(item["msg"].removeprefix("Value error, "))
    if not location:
        return f"{source}: {message}"
    if kind == "extra_forbidden":
        valid = sorted({name for found in models for name in found.model_fields})
        return f"{source}: {path}: unknown key{suggest(location[-1], valid)}"
    if kind == "missing":
        return f"{source}: {path}: required key is missing"
    if kind == "union_tag_not_found":
        tag = str(context["discriminator"]).strip("'")
        valid = sorted(
            str(word)
            for found in inner
            if tag in found.model_fields
            for word in get_args(found.model_fields[tag].annotation)
        )
        return f"{source}: {path}.{tag}: required key is missing; valid: {', '.join(valid)}"
    if kind == "union_tag_invalid":
        tag = str(context["discriminator"]).strip("'")
        valid = re.findall(r"'([^']*)'", str(context["expected_tags"]))
        shown = json.dumps(context["tag"])
        return f"{source}: {path}.{tag} = {shown}: unknown{suggest(context['tag'], valid)}"
    if kind == "literal_error":
        valid = re.findall(r"'([^']*)'", str(context["expected"]))
        message = f"unknown{suggest(str(item['input']), valid)}"
    return f"{source}: {path} = {_shown(item['input'])}: {message}"


def _shown(value: object) -> str:
    text = json.dumps(value, default=str)
    return text if len(text) <= _MAX_VALUE_CHARS else text[: _MAX_VALUE_CHARS - 3] + "..."


def _walk(
    model: type[BaseModel], location: Sequence[str]
) -> tuple[list[str], set[type[BaseModel]], set[type[BaseModel]]]:
    """The key path as it stands in the file, the models that its last key belongs to, and its own.

    pydantic's own path also names the member of a union that it chose; a file has no such key.
    """
    path: list[str] = []
    models, owners, in_table = {model}, {model}, False
    for part in location:
        fields = [m.model_fields[part] for m in models if part in m.model_fields]
        tagged = {m for m in models if _has_tag(m, part)}
        if in_table:
            in_table = False  # the key of a table such as [conditions.NAME]
        elif fields:
            owners = models
            models = {inner for f in fields for inner in _models_in(f.annotation)}
            in_table = any(get_origin(f.annotation) is dict for f in fields)
        elif tagged:
            models = owners = tagged
            continue
        else:
            owners = models
        path.append(part)
    return path, owners, models


def _has_tag(model: type[BaseModel], tag: str) -> bool:
    return any(tag in get_args(field.annotation) for field in model.model_fields.values())


def _models_in(annotation: object) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for argument in get_args(annotation):
        yield from _models_in(argument)

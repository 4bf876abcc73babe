"""Turns a failed validation of a user's file into one line per problem that a person can act on."""

import json
from collections.abc import Callable, Iterator, Sequence
from difflib import get_close_matches
from typing import Any, get_args

from pydantic import BaseModel, ConfigDict, ValidationError

from pipeline.errors import PipelineError

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
    location = [str(part) for part in item["loc"]]
    table = table_of(location[0]) if location else ()
    path = ".".join([*table, *location]) or "(top level)"
    if item["type"] == "extra_forbidden":
        valid = sorted(_field_names(model, location[:-1]))
        return f"{source}: {path}: unknown key{suggest(location[-1], valid)}"
    if item["type"] == "missing":
        return f"{source}: {path}: required key is missing"
    message = item["msg"].removeprefix("Value error, ")
    if item["type"] in {"union_tag_invalid", "union_tag_not_found"}:
        message = item["msg"].split("does not match")[0].strip()
        expected = item.get("ctx", {}).get("expected_tags")
        message = f"{message}; valid: {expected}" if expected else message
    return f"{source}: {path} = {_shown(item['input'])}: {message}"


def _shown(value: object) -> str:
    text = json.dumps(value, default=str)
    return text if len(text) <= _MAX_VALUE_CHARS else text[: _MAX_VALUE_CHARS - 3] + "..."


def _field_names(model: type[BaseModel], location: Sequence[str]) -> set[str]:
    """Names valid at a key path; dictionary keys and union tags on the way are passed over."""
    models = {model}
    for part in location:
        inner = {
            found
            for candidate in models
            if part in candidate.model_fields
            for found in _models_in(candidate.model_fields[part].annotation)
        }
        tagged = {candidate for candidate in models if _has_tag(candidate, part)}
        models = inner or tagged or models
    return {name for candidate in models for name in candidate.model_fields}


def _has_tag(model: type[BaseModel], tag: str) -> bool:
    return any(tag in get_args(field.annotation) for field in model.model_fields.values())


def _models_in(annotation: object) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for argument in get_args(annotation):
        yield from _models_in(argument)

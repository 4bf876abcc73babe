"""Templates that a user may replace one by one, and errors that name the file and the line.

Owns the seam to jinja2. Templates never print a bare value: text is escaped, numbers pass a
format, and a value that is missing stops the rendering instead of appearing as "None".
"""

import traceback
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import jinja2
from markupsafe import Markup

from pipeline.errors import PipelineError

Escape = Callable[[str], Markup]
"""Makes text harmless in what a template writes: Markdown, HTML."""


def environment_of(template_dirs: Sequence[Path], escape: Escape) -> jinja2.Environment:
    """Return an environment that takes a template from the first folder that has it."""
    return jinja2.Environment(
        loader=_Loader([str(folder) for folder in template_dirs]),
        undefined=jinja2.StrictUndefined,
        autoescape=True,  # keeps apart what is marked up already and what is text
        finalize=lambda value: _printed(value, escape),
        trim_blocks=True,
        lstrip_blocks=True,
    )


def render(environment: jinja2.Environment, template: str, values: Mapping[str, object]) -> str:
    """Return what a template writes.

    Raises:
        PipelineError: a template is missing or wrong, or asks for a value that is not there.
    """
    try:
        return environment.get_template(template).render(values)
    except PipelineError:
        raise
    except Exception as error:  # a template may raise anything, such as ZeroDivisionError
        raise _template_error(error, environment, template) from error


def _template_error(
    error: Exception, environment: jinja2.Environment, template: str
) -> PipelineError:
    """The error as a user needs it: which file, which line, what is wrong."""
    if isinstance(error, jinja2.TemplateNotFound):
        assert isinstance(environment.loader, _Loader)
        return PipelineError(
            f"no template {error.name} in {', '.join(environment.loader.searchpath)}"
        )
    message = str(error)
    if isinstance(error, jinja2.TemplateError):
        message = error.message or message
    else:
        message = f"{type(error).__name__}: {message}"
    where = _template_line(error, template)
    return PipelineError(f"{where}: the report's template is wrong: {message}")


def _template_line(error: Exception, template: str) -> str:
    """Where in the templates an error arose: the innermost of their lines that led to it."""
    if isinstance(error, jinja2.TemplateSyntaxError):
        return f"{error.filename or error.name or template}:{error.lineno}"
    lines = [
        f"{frame.filename}:{frame.lineno}"
        for frame in traceback.extract_tb(error.__traceback__)
        if frame.filename.endswith(".j2")
    ]
    return lines[-1] if lines else template


class _Loader(jinja2.FileSystemLoader):
    """Names the file that cannot be read."""

    def get_source(
        self, environment: jinja2.Environment, template: str
    ) -> tuple[str, str, Callable[[], bool]]:
        try:
            return super().get_source(environment, template)
        except (OSError, UnicodeDecodeError) as error:
            if isinstance(error, jinja2.TemplateNotFound):  # which is an OSError, too
                raise
            places = (Path(folder) / template for folder in self.searchpath)
            path = next((place for place in places if place.is_file()), template)
            why = getattr(error, "strerror", None) or "not UTF-8 text"
            raise PipelineError(f"{path}: the report's template cannot be read ({why})") from error


def _printed(value: object, escape: Escape) -> Markup:
    """What an expression of a template turns into."""
    if isinstance(value, Markup):
        return value
    if isinstance(value, str | jinja2.Undefined):
        return escape(str(value))  # str() of an undefined value raises
    if isinstance(value, int) and not isinstance(value, bool):
        return Markup(value)
    raise jinja2.TemplateRuntimeError(f"{value!r} would be printed without a format")

"""The page's model as HTML: one document with its styles, its script and its data inside, and nothing fetched from anywhere."""

from __future__ import annotations

from functools import cache
from importlib.resources import files

from jinja2 import Environment, PackageLoader, StrictUndefined

from laycan.desk.report import charts, figures
from laycan.desk.report.page import Page
from laycan.desk.report.proof import shortage_text


@cache
def _environment() -> Environment:
    """Everything that a template prints is escaped, whatever it is called; what is missing is an error."""
    environment = Environment(
        loader=PackageLoader("laycan.desk.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    for name in ("count", "counted", "money", "hours", "instant", "percent"):
        environment.filters[name] = getattr(figures, name)
    environment.globals.update(window=figures.window, position=figures.position, area=charts.area, line=charts.line)
    environment.globals.update(shortage_text=shortage_text, style=_own("page.css"), script=_own("page.js"))
    return environment


def _own(name: str) -> str:
    """A file of ours, as it stands."""
    return files("laycan.desk.report").joinpath("templates", name).read_text()


def render(page: Page) -> str:
    """The document; the same page gives the same bytes."""
    return _environment().get_template("page.html").render(page=page)

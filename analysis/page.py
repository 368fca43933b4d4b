"""Pages from templates."""

from functools import cache

from jinja2 import Environment, PackageLoader, StrictUndefined


@cache
def _environment() -> Environment:
    return Environment(loader=PackageLoader("analysis"), autoescape=True, undefined=StrictUndefined)


def render(template: str, **values: object) -> str:
    """Returns a page: `template`.html.jinja with values, which are escaped unless they are markup."""
    return _environment().get_template(f"{template}.html.jinja").render(**values)

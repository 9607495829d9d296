"""Routes that cost nothing before they are used."""

from collections.abc import Callable
from typing import Any

from quart.routing import QuartRule


class Route(QuartRule):
    """A rule that makes what builds its URL when a URL is first built.

    Werkzeug 3.1 generates and compiles two Python functions for every rule of an application, most of the time it
    takes to make ours; and we build no URLs.
    """

    def _compile_builder(self, append_unknown: bool = True) -> Callable[..., tuple[str, str]]:
        compile_builder = super()._compile_builder
        made: list[Callable[..., tuple[str, str]]] = []

        def build(rule: QuartRule, **values: Any) -> tuple[str, str]:
            if not made:
                made.append(compile_builder(append_unknown))
            return made[0](rule, **values)

        return build

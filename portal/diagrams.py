"""The tables of moves as pictures: for docs, in Mermaid. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from portal.models.moves import Moving

TITLE = """\
# What may become of what

Every thing with states has a table of moves, as data; `portal.transitions` takes no other step. This page is made from
the tables: `./dev manage moves > docs/moves.md`.
"""


def page(models: Iterable[type[Moving]]) -> str:
    """The whole page, one diagram for each model, in the order of their names."""
    ordered = sorted(models, key=lambda model: model._meta.label)
    return "\n".join([TITLE, *("\n".join(_section(model)) for model in ordered)])


def _section(model: type[Moving]) -> Iterator[str]:
    words = model.state_words()
    yield f"## {str(model._meta.verbose_name).capitalize()}\n"
    yield "```mermaid"
    yield "stateDiagram-v2"
    yield from (f"    {state.value}: {words[state.value]}" for state in model.MOVES)
    yield f"    [*] --> {model.first_state()}"
    for state, nexts in model.MOVES.items():
        yield from (f"    {state.value} --> {later}" for later in sorted(one.value for one in nexts))
        if not nexts:
            yield f"    {state.value} --> [*]"
    yield "```\n"

"""Values of images by name that a component has declared; a miss says how to declare it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TypeVar

from reid_core.errors import name_list

Value = TypeVar("Value")


class NotDeclaredError(KeyError):
    """A component asks for what it has not declared; the text says what to add."""

    def __str__(self) -> str:
        """Return the text without the quotes that a KeyError puts around it."""
        return str(self.args[0])


class Declared(dict[str, Value]):
    """What a component is handed of all that there is: what it has declared, and no more.

    Attributes:
        names: All that it has declared.
        field: Where it is declared, e.g. ``"columns"``.
        component: Type of the component, e.g. ``"EvaluatorComponent"``.
    """

    def __init__(
        self, there: Mapping[str, Value], names: Iterable[str], field: str, component: str
    ) -> None:
        """Take from what is there what is declared."""
        self.names = tuple(names)
        self.field, self.component = field, component
        super().__init__({name: there[name] for name in self.names if name in there})

    def __missing__(self, name: object) -> Value:
        """Say how a value gets here.

        Raises:
            NotDeclaredError: Always.
        """
        if name in self.names:
            raise NotDeclaredError(f"'{name}' is declared, and these images do not have it")
        raise NotDeclaredError(
            f"'{name}' is not declared; add {_declaration(self.field, str(name))} to the "
            f"{self.component} (declared: {name_list(self.names)})"
        )


def _declaration(field: str, name: str) -> str:
    """Return how a component declares a name; values of heads have a field of their own."""
    if field == "outputs" and name.startswith("aux."):
        field, name = "aux", name.removeprefix("aux.")
    return f'{field}=("{name}",)'


def each(values: Mapping[str, Value], change: Callable[[Value], Value]) -> dict[str, Value]:
    """Return every value changed; what is ``Declared`` stays it."""
    changed = {name: change(value) for name, value in values.items()}
    if isinstance(values, Declared):
        return Declared(changed, values.names, values.field, values.component)
    return changed

"""How params name a class of the library pytorch-metric-learning."""

from __future__ import annotations

from pydantic import Field

from reid_core import Params


class Part(Params):
    """A class of the library and the arguments of its constructor."""

    name: str = Field(description="Name of the class, as the library spells it.")
    params: dict[str, bool | int | float | str | list[bool | int | float | str] | Part] = Field(
        default={},
        description="Arguments of its constructor: numbers, booleans, strings and lists; where "
        "it takes a distance, a reducer or a regularizer, an object with 'name' and 'params'. "
        "'num_classes' and 'embedding_size' are filled in.",
    )

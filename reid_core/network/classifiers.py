"""The classifiers of a network: one linear layer per key that a head's branch names."""

from __future__ import annotations

import keyword
import re
from collections.abc import ItemsView, Iterable, Iterator, KeysView, Mapping

from torch import Tensor, nn

PREFIX = "of_"
"""Begins the name of every classifier's module. Names of modules are attributes in the code that
``torch.export`` writes, where a key such as ``global`` would be a keyword of Python, and attributes
of ``nn.Module``, where ``training`` would be taken. With the prefix no key can be either."""

_WORD = re.compile("[A-Za-z0-9_]+")


class Classifiers(nn.ModuleDict):
    """Linear layers, ``d`` to ``num_pids``, by key; the module of ``global`` is ``of_global``."""

    def __getitem__(self, key: str) -> nn.Module:
        return super().__getitem__(PREFIX + key)

    def __setitem__(self, key: str, layer: nn.Module) -> None:
        super().__setitem__(PREFIX + key, layer)

    def __delitem__(self, key: str) -> None:
        super().__delitem__(PREFIX + key)

    def __contains__(self, key: object) -> bool:
        return f"{PREFIX}{key}" in self._modules

    def __iter__(self) -> Iterator[str]:
        return iter(self.keys())

    def keys(self) -> KeysView[str]:
        """Return the keys, without the prefix."""
        return dict(self.items()).keys()

    def items(self) -> ItemsView[str, nn.Module]:
        """Return (key, layer) of every classifier."""
        layers = zip(self._modules, super().values(), strict=True)
        return {name.removeprefix(PREFIX): layer for name, layer in layers}.items()


def keys_of(tensors: Iterable[str]) -> set[str]:
    """Return the keys of the classifiers that a model's tensors belong to.

    >>> keys_of(["heads.0.neck.bn.weight", "classifier.of_global.weight"])
    {'global'}
    """
    parts = (name.split(".") for name in tensors)
    return {part[1].removeprefix(PREFIX) for part in parts if part[0] == "classifier"}


def renamed(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return tensors of a model of before there was the prefix, by their names of today."""
    start = "classifier."
    return {
        f"{start}{PREFIX}{name.removeprefix(start)}" if name.startswith(start) else name: tensor
        for name, tensor in tensors.items()
    }


def is_word(name: str) -> bool:
    """Return whether a name can be that of a branch or the key of a classifier.

    Params choose branches by globs, and names become parts of the names of modules, monitors and
    files; a name of other letters is not the same for each of these.
    """
    return _WORD.fullmatch(name) is not None


def keywords_in(module: nn.Module) -> list[str]:
    """Return the names within a module that are no attribute in Python code, such as ``a.class``.

    What ``torch.export`` makes of such a module cannot be run.
    """
    tensors = dict([*module.named_parameters(), *module.named_buffers()])
    names = {*(name for name, _ in module.named_modules()), *tensors}
    return sorted(name for name in names if any(map(keyword.iskeyword, name.split("."))))

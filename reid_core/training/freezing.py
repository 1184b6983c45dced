"""Parameters that stand still at the beginning of a training: staged freezing.

It lets new layers settle before they may move pretrained ones: FastReID's frozen iterations, and
the fixed base network of Torchreid (arXiv:1910.10093).
"""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase

from torch import nn

from reid_core.errors import ReidError
from reid_core.network.model import hold_statistics
from reid_core.params.schema import FreezeRule
from reid_core.training.parameter_groups import no_such_parameter


class Freezing:
    """Sets what is frozen in an epoch; it depends on the epoch alone, so resuming changes nothing.

    A frozen parameter requires no gradient and stays in the optimizer, which passes over
    parameters without a gradient: no step, no weight decay, no momentum. BN layers of modules
    without any trained parameter keep their statistics. What is never trained, such as a neck's
    bias or a backbone that ``fine_tune`` froze, is left alone.
    """

    def __init__(self, rules: Sequence[FreezeRule], module: nn.Module) -> None:
        """Find the parameters of every rule.

        Args:
            rules: The params' ``train.freeze``.
            module: The training module, all built; names are those of ``optimizer.groups``.

        Raises:
            ReidError: A rule matches no parameter, or the first epoch would train nothing.
        """
        self._rules, self._module = rules, module
        named = list(module.named_parameters())
        self._until: dict[nn.Parameter, int] = {}
        for position, rule in enumerate(rules):
            matched = [p for name, p in named if fnmatchcase(name, rule.match)]
            if not matched:
                raise no_such_parameter(f"train.freeze.{position}.match", rule.match, named)
            for parameter in matched:
                if parameter.requires_grad:
                    self._until[parameter] = max(rule.epochs, self._until.get(parameter, 0))
        trained = [p for _, p in named if p.requires_grad and p not in self._until]
        if rules and not trained:
            raise ReidError(
                "train.freeze: the rules leave no parameter to train in the first epoch"
            )

    def set_epoch(self, epoch: int) -> None:
        """Freeze and release for an epoch, from 0; call it after ``module.train()``.

        A parameter with n epochs is frozen in the epochs 0 to n - 1.
        """
        for parameter, epochs in self._until.items():
            parameter.requires_grad_(epoch >= epochs)
        frozen = {parameter for parameter, epochs in self._until.items() if epoch < epochs}
        for part in self._module.modules() if frozen else ():
            parameters = set(part.parameters())
            if parameters & frozen and not any(p.requires_grad for p in parameters):
                hold_statistics(part)

    def lines(self) -> list[str]:
        """Return the rules as text, one line each."""
        return [f"frozen in the first {rule.epochs} epochs: {rule.match}" for rule in self._rules]

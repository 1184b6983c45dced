"""Parameters that no loss reaches are named after the first step."""

import torch
from torch import nn

from reid_core.training.unused_parameters import unused_parameters


class Network(nn.Module):
    def __init__(self, forgotten=1):
        super().__init__()
        self.used, self.fixed = nn.Linear(2, 2), nn.Linear(2, 2).requires_grad_(False)
        self.forgotten = nn.ParameterList(nn.Parameter(torch.zeros(1)) for _ in range(forgotten))

    def forward(self, x):
        return self.fixed(self.used(x)).sum()


def after_a_step(network):
    network(torch.ones(1, 2)).backward()
    return network


def test_nothing_is_said_where_every_trained_parameter_has_a_gradient():
    assert unused_parameters(after_a_step(Network(forgotten=0))) == ""


def test_a_gradient_of_zeros_is_a_gradient():
    network = Network(forgotten=0)
    (0 * network(torch.ones(1, 2))).backward()
    assert unused_parameters(network) == ""


def test_a_parameter_without_gradient_is_named():
    assert unused_parameters(after_a_step(Network())) == (
        "without a gradient after the first step, 1 of 3 parameters: forgotten.0; no loss depends "
        "on them, so they stay as they are"
    )


def test_at_most_ten_are_named_and_all_are_counted():
    line = unused_parameters(after_a_step(Network(forgotten=25)))
    assert line.startswith("without a gradient after the first step, 25 of 27 parameters: ")
    assert line.count("forgotten.") == 10
    assert "... (25 in all)" in line

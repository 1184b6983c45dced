"""What wants a gradient and is no parameter is found: it would be neither trained nor saved."""

import pytest
import torch
from torch import nn

from reid_core import BackboneComponent, LossComponent, ReidError, hookimpl
from reid_core.contracts import FeatureMap, LossOutput
from reid_core.params.validation import check_run_params
from reid_core.runs.start_and_resume import start_train
from reid_core.training.assembly import check_on_meta
from reid_core.training.stray_tensors import leaves, stray_tensor

pytestmark = pytest.mark.usefixtures("one_thread")


def test_the_leaves_of_a_value_are_found_once_wherever_they_enter():
    a, b = torch.randn(3, requires_grad=True), torch.randn(3, requires_grad=True)
    constant = torch.randn(3)
    value = (a * b + (a - constant).exp()).sum()
    assert {id(leaf) for leaf in leaves(value)} == {id(a), id(b)}
    assert len(leaves(value)) == 2
    assert leaves(constant.sum()) == []
    value.backward()
    assert stray_tensor(value, [a, b]) == ""
    assert stray_tensor(value, [a]) == "a tensor of shape (3,)"


class Proxies(nn.Module):
    """Proxies that are a plain tensor, or as they should be."""

    def __init__(self, num_pids, dim, make):
        super().__init__()
        self.proxies = make(torch.randn(num_pids, dim))

    def forward(self, x):
        return LossOutput((x.features - self.proxies[x.pids]).square().mean())


def plugin(make):
    class Plugin:
        @hookimpl
        def reid_loss(self):
            def build(params, *, num_pids, dim):
                return Proxies(num_pids, dim, make)

            return [LossComponent(name="proxies", role="metric", build=build, summary="-")]

    return Plugin()


def test_proxies_that_are_no_parameter_are_found_by_the_check(catalog_with, tiny_params):
    raw = {**tiny_params, "backbone": {"name": "tiny"}, "loss": [{"name": "proxies"}]}
    right = catalog_with(plugin(nn.Parameter))
    check_on_meta(check_run_params(raw, right, "p"), right)
    wrong = catalog_with(plugin(lambda tensor: tensor.requires_grad_()))
    with pytest.raises(
        ReidError, match=r"^loss 'proxies' of local 0 computes with a tensor of shape \(4, 8\) that"
    ):
        check_on_meta(check_run_params(raw, wrong, "p"), wrong)


def test_a_network_with_such_a_tensor_is_found_at_the_first_step(catalog_with, tiny_params):
    class Backbone(nn.Module):
        out_channels, stride = 8, 16

        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(3, 8, 16, stride=16)
            self.shift = torch.zeros(8, 1, 1, requires_grad=True)

        def forward(self, images, side):
            return FeatureMap(self.conv(images) + self.shift.to(images.device))

    class Plugin:
        @hookimpl
        def reid_backbone(self):
            return [BackboneComponent(name="odd", build=lambda params: Backbone(), summary="-")]

    catalog = catalog_with(Plugin())
    raw = {**tiny_params, "backbone": {"name": "odd"}, "evaluation": []}
    with pytest.raises(
        ReidError,
        match=r"depend on a tensor of shape \(8, 1, 1\) that wants a gradient and is ",
    ):
        start_train(check_run_params(raw, catalog, "p"), catalog, "run")

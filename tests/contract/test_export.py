"""A network with any built-in head can be exported, and the export gives the same numbers."""

import numpy as np
import pytest
import torch
from torch import nn

from cases import installed_cases
from reid_core.params.validation import check_run_params
from reid_core.training.build_module import ModuleBuilder

HEADS = sorted(case.name for case in installed_cases() if case.kind == "head")


class Vectors(nn.Module):
    """A network as an export sees it: images to tensors by name, classifiers' among them."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, images):
        output = self.model(images)
        logits = {f"logits of {name}": values for name, values in output.logits.items()}
        return {"embedding": output.embedding, "feature": output.feature, **logits, **output.aux}


@pytest.fixture(params=HEADS)
def network(request, catalog, tiny_params, one_thread):
    """A network with a head and its classifiers, after batches that moved its statistics."""
    head = {"name": request.param}
    if request.param == "pcb":
        head["params"] = {"parts": 2, "dropout": 0.0}
    params = check_run_params({**tiny_params, "head": [head]}, catalog, "test")
    torch.manual_seed(0)
    model = ModuleBuilder(params, catalog).module(4).model
    assert {spec.classifier for spec in model.branches} - {None} == set(model.classifier)
    with torch.no_grad():
        for _ in range(3):
            model.train()(images(8))
    return Vectors(model)


def images(count, seed=0):
    return torch.randn(count, 3, 32, 16, generator=torch.Generator().manual_seed(seed))


def close(found, expected):
    assert found.keys() == expected.keys()
    for name, values in expected.items():
        torch.testing.assert_close(found[name], values, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("training", [False, True])
def test_an_exported_network_gives_the_same_numbers(network, training):
    state = {name: values.clone() for name, values in network.state_dict().items()}
    program = torch.export.export(network.train(training), (images(4),), strict=False)
    runs = [program.module(), program.run_decompositions().module()]
    with torch.no_grad():
        found = [run(images(4, seed=1)) for run in runs]
        network.load_state_dict(state)
        expected = network(images(4, seed=1))
    for each in found:
        close(each, expected)


def test_an_onnx_file_gives_the_same_numbers(network, tmp_path):
    import onnxruntime

    file = tmp_path / "network.onnx"
    torch.onnx.export(network.eval(), (images(4),), file, dynamo=True, verbose=False)
    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    (given,) = session.get_inputs()
    found = session.run(None, {given.name: images(4, seed=1).numpy()})
    with torch.no_grad():
        expected = network(images(4, seed=1))
    assert len(found) == len(expected)
    for values, (name, wanted) in zip(found, expected.items(), strict=True):
        np.testing.assert_allclose(values, wanted, rtol=1e-3, atol=1e-4, err_msg=name)

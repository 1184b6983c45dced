"""The device of a run: which names there are, and who is told about the others."""

import pytest
import torch

from reid_core import ReidError
from reid_core.compute.device import choose_device
from reid_core.params.overrides import apply_overrides
from reid_core.params.validation import check_eval_params, check_run_params

STRANGE = (
    "mps",
    "meta",
    "cpu:3",
    "xpu",
    "cuda:",
    "cuda:-1",
    "cuda:x",
    "CPU",
    "cpu\n",
    "",
    "auto:1",
)


@pytest.fixture
def two_gpus(monkeypatch):
    """A machine with two GPUs, as far as counting goes."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)


def test_names_of_devices(two_gpus):
    assert choose_device("auto") == torch.device("cuda")
    assert choose_device("cuda") == torch.device("cuda")
    assert choose_device("cuda:1") == choose_device("cuda:01") == torch.device("cuda:1")
    assert choose_device("cpu") == torch.device("cpu")


def test_the_only_gpu_needs_no_number(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    assert choose_device("cuda") == torch.device("cuda")
    assert choose_device("cuda:0") == torch.device("cuda:0")


def test_auto_is_the_cpu_where_there_is_no_gpu(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert choose_device("auto") == torch.device("cpu")


@pytest.mark.parametrize("name", STRANGE)
def test_a_strange_name_is_refused_under_its_key(two_gpus, name):
    with pytest.raises(ReidError) as caught:
        choose_device(name, key="device")
    assert str(caught.value) == f"device: '{name}' is no device; use auto, cpu, cuda or cuda:0"


@pytest.mark.parametrize("name", ["cuda:2", "cuda:300", "cuda:99999999999999999999"])
def test_a_gpu_that_is_not_there_is_refused(two_gpus, name):
    with pytest.raises(ReidError) as caught:
        choose_device(name)
    assert str(caught.value) == (
        f"compute.device: '{name}' is not there (2 GPUs found); use auto or cpu"
    )


@pytest.mark.parametrize("name", STRANGE)
def test_the_check_of_params_finds_a_strange_name(catalog, tiny_params, name):
    tiny_params["train"]["device"] = name
    with pytest.raises(ReidError, match=r"^p: train\.device: must match \^\(auto\|cpu\|cuda"):
        check_run_params(tiny_params, catalog, "p")
    with pytest.raises(ReidError, match=r"^p: device: must match \^\(auto\|cpu\|cuda"):
        check_eval_params({"run": "runs/x", "device": name}, catalog, "p")


@pytest.mark.parametrize("name", ["auto", "cpu", "cuda", "cuda:0", "cuda:12"])
def test_the_check_of_params_accepts_the_others(catalog, tiny_params, name):
    raw = apply_overrides(tiny_params, [f"train.device={name}"], "p")
    assert check_run_params(raw, catalog, "p").train.device == name

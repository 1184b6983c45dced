"""What a plugin raises becomes one message; what is asked for by the user goes through."""

import pickle

import pytest
import torch

from reid_core import ReidError
from reid_core.boundary import TRACEBACK, Origin, PluginError, files_of, traceback_text
from reid_core.interrupt import Interrupted

ORIGIN = Origin("loss", "mine", "reid-mine", "1.2", __file__)


def fail(error):
    raise error


def raised(error, origin=ORIGIN, place="at step 3"):
    with pytest.raises(ReidError) as caught, origin.calling(place):
        fail(error)
    return caught.value


def test_the_message_names_kind_component_package_version_cause_place_and_line():
    error = raised(KeyError("uc"))
    line = fail.__code__.co_firstlineno + 1
    assert str(error) == (
        f"loss 'mine' of reid-mine 1.2 failed at step 3: KeyError: 'uc' (test_boundary.py:{line}); "
        f"if your params and data are right, the plugin must be corrected ({TRACEBACK}=1 shows the "
        "traceback)"
    )
    assert isinstance(error, PluginError)
    assert isinstance(error.__cause__, KeyError)


def test_a_message_of_several_lines_becomes_one_and_an_empty_one_its_type():
    assert "ValueError: a b (" in str(raised(ValueError("a\n  b")))
    assert "failed at step 3: AssertionError (" in str(raised(AssertionError()))


def test_a_line_of_another_package_is_not_blamed():
    assert ".py:" not in str(raised(KeyError("uc"), Origin("loss", "mine", "reid-mine", "1.2")))
    foreign = Origin("loss", "mine", "reid-mine", "1.2", "/nowhere/")
    assert ".py:" not in str(raised(KeyError("uc"), foreign))


def test_a_plugin_that_leaves_the_program_is_a_fault():
    assert "SystemExit: 0" in str(raised(SystemExit(0)))


@pytest.mark.parametrize(
    "error", [ReidError("no such file"), KeyboardInterrupt(), Interrupted("stopped", 2)]
)
def test_what_is_for_the_user_goes_through_as_it_is(error):
    with pytest.raises(type(error)) as caught, ORIGIN.calling():
        fail(error)
    assert caught.value is error


@pytest.mark.parametrize(
    "error", [MemoryError(), torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")]
)
def test_memory_that_runs_out_is_not_the_plugins_mistake(error):
    text = str(raised(error))
    assert text.startswith("out of memory at step 3, in loss 'mine' of reid-mine 1.2: ")
    assert "corrected" not in text
    assert "take smaller batches" in text


def test_a_wrong_result_says_what_was_expected():
    error = ORIGIN.fault("returned 3; expected a LossOutput", "at step 1")
    assert str(error) == (
        "loss 'mine' of reid-mine 1.2 returned 3; expected a LossOutput at step 1; the plugin must "
        "be corrected"
    )


def test_an_origin_travels_to_loader_processes():
    assert pickle.loads(pickle.dumps(ORIGIN)) == ORIGIN


def test_the_files_of_a_package_are_its_folder_and_those_of_a_module_the_file():
    from reid_plugins.loss.softmax import build

    assert files_of(build).endswith("reid_plugins/")
    assert files_of(fail) == __file__
    assert files_of(len) == ""


@pytest.mark.parametrize(("value", "shown"), [("", False), ("0", False), ("1", True)])
def test_the_traceback_is_there_for_those_who_ask(monkeypatch, value, shown):
    monkeypatch.setenv(TRACEBACK, value)
    text = traceback_text(raised(KeyError("uc")))
    assert ("KeyError: 'uc'" in text and "in fail" in text) == shown

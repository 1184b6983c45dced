"""The command line: exit statuses, where messages go, and what the light commands print."""

import json
import os
import subprocess
import sys
from pathlib import Path

import jsonschema
import pytest

from reid_core import Component, Params, ReidError, cli, hookimpl
from reid_core.cli import main
from reid_core.console import duration
from reid_core.discovery import isolated_catalog, load_catalog
from reid_core.hookspecs import KINDS
from reid_core.interrupt import Interrupted
from reid_core.program import run_as

ROOT = Path(__file__).parents[2]


class Command:
    """A command that returns or raises what it is given."""

    def __init__(self, result):
        self.result = result

    def add_arguments(self, parser):
        parser.add_argument("--number", type=int)

    def run(self, args):
        if isinstance(self.result, BaseException):
            raise self.result
        return self.result


def command(result=None, name="act", summary="acts", build=None, **changes):
    return Component(
        name=name, build=build or (lambda params: Command(result)), summary=summary, **changes
    )


@pytest.fixture
def only(monkeypatch):
    """A function that makes the given commands the only ones; each is a plugin of its own."""

    def plugin(component):
        class Plugin:
            @hookimpl
            def reid_command(self):
                return [component]

        return Plugin()

    def use(*components):
        catalog = isolated_catalog(*map(plugin, components))
        monkeypatch.setattr(cli, "load_catalog", lambda: catalog)

    return use


# ---- exit statuses ----------------------------------------------------------------------


@pytest.mark.parametrize(("result", "status"), [(None, 0), (0, 0), (1, 1), (False, 0)])
def test_the_status_is_what_the_command_returns(only, answer, result, status):
    only(command(result))
    assert answer("act") == (status, "", "")


def test_a_mistake_of_the_user_is_status_2_on_stderr_without_traceback(only, answer):
    only(command(ReidError("p.json: no such file")))
    assert answer("act") == (2, "", "error: p.json: no such file\n")


@pytest.mark.parametrize("number", [2, 15])
def test_an_interrupted_training_is_128_and_the_signal(only, answer, number):
    only(command(Interrupted(number, "stopped; resume with ...")))
    assert answer("act") == (128 + number, "", "stopped; resume with ...\n")


def test_ctrl_c_is_status_130(only, answer):
    only(command(KeyboardInterrupt()))
    assert answer("act") == (130, "", "interrupted\n")


def test_ctrl_c_while_plugins_load_is_status_130(install_plugin, answer):
    install_plugin("reid-slow", {"reid_slow_command": "raise KeyboardInterrupt"})
    assert answer("plugins") == (130, "", "interrupted\n")


def test_a_bug_in_a_command_is_one_message_and_its_traceback_is_at_hand(only, monkeypatch, capsys):
    only(command(ZeroDivisionError("a bug")))
    assert main(["act"]) == 2
    message = capsys.readouterr().err
    start = "error: command 'act' of local 0 failed: ZeroDivisionError: a bug (test_cli.py:"
    assert message.startswith(start)
    assert message.count("\n") == 1
    monkeypatch.setenv("REID_CORE_TRACEBACK", "1")
    assert main(["act"]) == 2
    assert capsys.readouterr().err.startswith("Traceback (most recent call last):\n")


@pytest.mark.parametrize("arguments", ["schema", "plugins", "--help"])
def test_a_closed_pipe_is_status_141_and_silent(arguments):
    code = "import sys; from reid_core.cli import main; sys.exit(main(sys.argv[1:]))"
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONUNBUFFERED"}
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run(
        [sys.executable, "-c", code, arguments],
        stdout=write,
        stderr=subprocess.PIPE,
        env=environment,
    )
    os.close(write)
    assert done.stderr == b""
    assert done.returncode == 141


# ---- the parser -------------------------------------------------------------------------


def test_an_unknown_command_lists_those_there_are(answer, catalog):
    status, _, err = answer("trian")
    assert status == 2
    assert "unknown command 'trian'; did you mean 'train'?" in err
    assert all(name in err for name in catalog.names("command"))


def test_help_lists_every_command_with_its_summary(answer, catalog):
    status, out, _ = answer("--help")
    assert status == 0
    text = " ".join(out.split())
    for name in catalog.names("command"):
        assert f"{name} {catalog.component('command', name).summary}" in text


@pytest.mark.parametrize("name", ["check", "evaluate", "pack", "plugins", "schema", "train"])
def test_every_command_has_help_under_its_own_name(answer, name):
    status, out, _ = answer(name, "--help")
    assert status == 0
    assert out.startswith(f"usage: reid {name} ")


def test_a_wrong_option_is_status_2(answer):
    status, _, err = answer("plugins", "--no-such-option")
    assert status == 2
    assert "unrecognized arguments: --no-such-option" in err


def test_a_summary_may_hold_a_percent_sign(only, answer):
    only(command(summary="keeps 50% of it"))
    assert "keeps 50% of it" in answer("--help")[1]
    assert "keeps 50% of it" in answer("act", "--help")[1]
    assert "50%%" not in answer("--help")[1] + answer("act", "--help")[1]


def test_arguments_come_from_the_process_unless_given(only, monkeypatch):
    only(command(7))
    monkeypatch.setattr(sys, "argv", ["reid", "act", "--number", "3"])
    assert main() == 7


def test_a_script_stands_for_one_command(only, monkeypatch, capsys):
    only(command(5))
    monkeypatch.setattr(sys, "argv", ["act.py", "--number", "3"])
    assert run_as("act", "act.py") == 5
    monkeypatch.setattr(sys, "argv", ["act.py", "--help"])
    with pytest.raises(SystemExit):
        run_as("act", "act.py")
    assert capsys.readouterr().out.startswith("usage: act.py [-h] [--number NUMBER]")


@pytest.mark.parametrize("script", ["train.py", "evaluator.py"])
def test_the_scripts_show_their_own_name(script):
    done = subprocess.run(
        [sys.executable, ROOT / script, "--help"], capture_output=True, text=True, check=True
    )
    assert done.stdout.startswith(f"usage: {script} [-h]")
    assert done.stderr == ""


@pytest.mark.parametrize("script", ["train.py", "evaluator.py"])
def test_the_scripts_say_when_nothing_is_installed(script):
    done = subprocess.run(
        [sys.executable, "-S", "-E", ROOT / script], capture_output=True, text=True, cwd=ROOT
    )
    assert done.returncode == 1
    assert done.stderr.startswith("error: ")
    assert done.stderr.endswith(" is not installed; run: pip install -e .\n")


# ---- commands of plugins that fail ------------------------------------------------------


def broken_build(params):
    raise RuntimeError("no luck")


class Required(Params):
    word: str


class BadArguments(Command):
    def add_arguments(self, parser):
        parser.add_argument("--half")
        raise RuntimeError("no luck")


@pytest.mark.parametrize(
    ("bad", "cause"),
    [
        (
            command(name="bad", build=broken_build),
            "failed while it was built: RuntimeError: no luck",
        ),
        (
            command(name="bad", build=lambda params: BadArguments(0)),
            "failed when it was asked for its arguments: RuntimeError: no luck",
        ),
        (command(name="bad", params=Required), "cannot be used: ValidationError: "),
        (
            command(name="bad", build=lambda params, *, screen: None),
            "cannot be built: it asks for screen; its kind offers catalog; "
            "its plugin must be corrected or updated",
        ),
    ],
)
def test_a_broken_command_fails_alone(only, answer, bad, cause):
    only(bad, command(4))
    assert answer("act")[0] == 4
    assert answer("--help")[0] == 0
    status, out, err = answer("bad", "--any", "thing")
    assert (status, out) == (2, "")
    assert err.startswith(f"error: command 'bad' of local 0 {cause}")


COMMAND = """
from reid_core import Component, hookimpl

class Plugins:
    def add_arguments(self, parser):
        pass

    def run(self, args):
        print("{word}")

@hookimpl
def reid_command():
    return [Component(name="{name}", build=lambda params: Plugins(), summary="{word}")]
"""


def test_a_command_of_an_installed_package_works(install_plugin, answer):
    install_plugin("reid-more", {"reid_more_command": COMMAND.format(name="more", word="hello")})
    assert answer("more") == (0, "hello\n", "")


def test_two_commands_of_one_name_are_picked_by_distribution(install_plugin, answer):
    source = COMMAND.format(name="plugins", word="mine")
    install_plugin("reid-mine", {"reid_mine_command": source})
    status, _, err = answer("plugins")
    assert status == 2
    assert "command 'plugins' is offered more than once" in err
    assert "'reid-core:plugins' or 'reid-mine:plugins'" in err
    assert answer("reid-mine:plugins") == (0, "mine\n", "")
    assert answer("reid-core:plugins")[1].startswith("reid-core ")
    assert answer("schema")[0] == 0


def test_without_any_plugin_the_way_to_install_is_named(monkeypatch, answer):
    monkeypatch.setattr(cli, "load_catalog", isolated_catalog)
    assert answer("plugins") == (
        2,
        "",
        "error: no plugin is installed; run: pip install -e . in the clone\n",
    )


# ---- reid plugins -----------------------------------------------------------------------


def test_plugins_lists_every_component_below_its_distribution(answer, catalog):
    status, out, err = answer("plugins")
    assert (status, err) == (0, "")
    lines = [line.split() for line in out.splitlines()]
    for offer in catalog.offers:
        component = offer.component
        assert [offer.kind, component.name, *component.summary.split()] in lines
        assert [offer.distribution, offer.version] in lines


@pytest.mark.parametrize("kind", KINDS)
def test_plugins_lists_one_kind_alone(answer, catalog, kind):
    status, out, _ = answer("plugins", "--kind", kind)
    assert status == 0
    lines = [line for line in out.splitlines() if line.startswith("  ")]
    assert [line.split()[0] for line in lines] == [kind] * len(lines)
    assert {line.split()[1] for line in lines} == set(catalog.names(kind))


def test_an_unknown_kind_is_refused(answer):
    status, _, err = answer("plugins", "--kind", "optimizer")
    assert status == 2
    assert "invalid choice: 'optimizer'" in err


def test_a_kind_lists_only_the_distributions_that_offer_it(install_plugin, answer):
    install_plugin("reid-word", {"reid_word_command": COMMAND.format(name="word", word="hi")})
    assert "reid-word 1.0" not in answer("plugins", "--kind", "loss")[1]
    assert "reid-word 1.0" in answer("plugins", "--kind", "command")[1]


def test_long_names_are_kept_apart_from_their_summaries(install_plugin, answer):
    name = "a_command_with_a_very_long_name"
    install_plugin("reid-long", {"reid_long_command": COMMAND.format(name=name, word="hi")})
    assert f"{name} hi" in answer("plugins")[1]


def test_errors_says_when_every_plugin_loads(answer, monkeypatch):
    monkeypatch.setenv("REID_CORE_NO_THIRD_PARTY", "1")  # whose faults are their own affair
    assert answer("plugins", "--errors") == (0, "every plugin loads\n", "")


@pytest.mark.parametrize("words", [["triplet"], ["--kind", "loss"]])
def test_errors_is_asked_for_alone(answer, words):
    status, out, err = answer("plugins", "--errors", *words)
    assert (status, out) == (2, "")
    assert err.endswith("give it alone\n")


def test_errors_lists_what_failed_with_status_1(install_plugin, answer):
    install_plugin("reid-bad", {"reid_bad_command": "1 / 0"}, version="2.0")
    status, out, _ = answer("plugins", "--errors")
    assert status == 1
    fault = "cannot be imported: ZeroDivisionError: division by zero"
    assert f"plugin 'reid-bad' of reid-bad 2.0: {fault}" in out.splitlines()
    status, out, _ = answer("plugins")
    number = len(load_catalog().faults)
    assert status == 0
    assert out.endswith(f"plugins that failed to load: {number}; see: reid plugins --errors\n")


# ---- reid check, reid schema ------------------------------------------------------------


def test_check_says_what_right_params_stand_for(answer, params_file, catalog):
    version = catalog.offer("head", "global").version
    assert answer("check", params_file) == (
        0,
        f"{params_file}: right: resnet18, global, 1 softmax + 1 triplet (reid-core {version})\n"
        "data not read: columns, files and identities are checked by reid pack and at the start\n",
        "",
    )


def test_check_lists_every_problem_on_stderr_with_status_2(answer, params_file):
    status, out, err = answer("check", params_file, "--set", "train.epochs=0", "--set", "x=1")
    assert (status, out) == (2, "")
    assert err.splitlines() == [
        f"error: {params_file}: train.epochs: must be >= 1, got 0",
        f"{params_file}: x: unknown key",
    ]


def test_check_of_a_missing_file_is_an_error(answer, tmp_path):
    path = tmp_path / "nobody.json"
    assert answer("check", path) == (2, "", f"error: {path}: no such file\n")


def test_check_knows_eval_params_that_lack_their_source(answer, tmp_path):
    path = tmp_path / "e.json"
    path.write_text('{"targets": {"mine": {"name": "synthetic_market"}}}')
    status, _, err = answer("check", path)
    assert status == 2
    assert err == (
        f"error: {path}: give exactly one of 'run', 'weights' and 'features' (0 given)\n"
    )
    assert answer("check", path, "--set", f"weights={path}")[0] == 0


def test_check_translates_a_run_of_the_predecessor(answer, tmp_path):
    path = ROOT / "tests" / "unit" / "reid_lite_params.json"
    status, out, err = answer("check", path, "--set", f"data.train.0.params.root={tmp_path}")
    assert (status, err) == (0, "")
    assert out.startswith(f"{path}: written for pytorch-reid-lite; translated:\n")
    assert f"{path}: right: resnet50, pcb, 1 softmax (" in out


def test_check_translates_an_evaluation_of_the_predecessor_that_lacks_only_its_data(answer):
    path = ROOT / "tests" / "unit" / "reid_lite_eval_params.json"
    status, out, err = answer("check", path, "--set", f"weights={path}")
    assert (status, err) == (
        2,
        f"error: {path}: 'weights' needs 'targets': the datasets to score on\n",
    )
    assert f"{path}: written for pytorch-reid-lite; translated:\n" in out


def test_check_reports_the_text_the_overrides_and_the_values_at_once(answer, tmp_path, tiny_params):
    path = tmp_path / "p.json"
    path.write_text(json.dumps(tiny_params).replace('"epochs": 2', '"epochs": NaN, "seed": 1'))
    status, out, err = answer("check", path, "--set", "x", "--set", "loss.0.branches=[]")
    assert (status, out) == (2, "")
    assert err.removeprefix("error: ").splitlines() == [
        f"{path}: train.seed: given twice; keep one",
        f"{path}: train.epochs: NaN is not a JSON number; write a finite number",
        f"{path}: --set x: expected path=value",
        f"{path}: loss.0.branches: names no branch; name one, or leave 'branches' out",
    ]


@pytest.mark.parametrize(
    ("option", "title"), [((), "params.json"), (("--eval",), "eval_params.json")]
)
def test_schema_prints_a_json_schema(answer, option, title):
    status, out, err = answer("schema", *option)
    assert (status, err) == (0, "")
    schema = json.loads(out)
    assert schema["title"] == title
    jsonschema.Draft202012Validator.check_schema(schema)


# ---- mistakes in the arguments of the other commands ------------------------------------


@pytest.mark.parametrize("operation", ["resume_train", "evaluate"])
def test_going_on_with_a_run_needs_its_name(answer, operation):
    status, _, err = answer("train", "--operation", operation)
    assert status == 2
    assert err == (
        f"error: --operation {operation} needs --sub_working_dir: the run's path or name\n"
    )


def test_a_folder_without_params_is_no_run(answer, tmp_path, params_file, tiny_params):
    arguments = ["train", "--operation", "resume_train", "--sub_working_dir"]
    below = Path(tiny_params["working_dir"], "gone")
    for place, words in (
        (tmp_path / "empty", [tmp_path / "empty"]),
        (below, ["gone", "--config_path", params_file]),
    ):
        status, out, err = answer(*arguments, *words)
        assert (status, out) == (2, "")
        assert err.startswith("error: ")
        assert "no run directory" in err
        assert str(place) in err


@pytest.mark.parametrize("arguments", [[], ["p.json", "--dataset", "market1501"]])
def test_packing_needs_one_thing_to_pack(answer, arguments):
    assert answer("pack", *arguments) == (
        2,
        "",
        "error: reid pack: give a params file, --dataset NAME or --verify STORE\n",
    )


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["p.json", "--out", "x"], "--out has no meaning with a params file; leave it out"),
        (
            ["p.json", "--set", "a=1", "--working_dir", "x"],
            "--working_dir has no meaning with a params file; leave it out",
        ),
        (
            ["--verify", "s", "--set", "a=1", "--out", "x"],
            "--set, --out has no meaning with --verify; leave it out",
        ),
        (
            ["--dataset", "d", "--out", "x", "--working_dir", "y"],
            "give --out or --working_dir, not both: --out is the store",
        ),
    ],
)
def test_packing_refuses_options_without_meaning(answer, arguments, problem):
    assert answer("pack", *arguments) == (2, "", f"error: reid pack: {problem}\n")


@pytest.mark.parametrize("place", [None, "elsewhere"])
def test_a_dataset_is_packed_below_the_working_directory(
    answer, tmp_path, tiny_params, monkeypatch, place
):
    monkeypatch.chdir(tmp_path)
    people = tiny_params["data"]["train"][0]["params"]
    settings = [word for k, v in people.items() for word in ("--set", f"{k}={v}")]
    where = ["--working_dir", place] if place else []
    status, out, err = answer("pack", "--dataset", "synthetic_market", *settings, *where)
    assert (status, err) == (0, "")
    (store,) = (path for path in tmp_path.glob("*/stores/*") if path.is_dir())
    assert store.relative_to(tmp_path).parts[0] == (place or "runs")
    assert out.endswith(f"synthetic_market: {store}\n")
    assert answer("pack", "--verify", store)[0] == 0


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0 s"), (59.4, "59 s"), (59.6, "1 min 0 s"), (200, "3 min 20 s"), (18180, "5 h 3 min")],
)
def test_durations_are_written_for_people(seconds, text):
    assert duration(seconds) == text

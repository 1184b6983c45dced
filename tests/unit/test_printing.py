"""What is printed: nothing in it is obeyed, and an output that fails ends nothing."""

from __future__ import annotations

import ast
import io
import os
import pickle
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reid_core import Component, ReidError, cli, hookimpl
from reid_core.cli import main
from reid_core.console import heard_by, progress_bar, say, warn
from reid_core.discovery import isolated_catalog
from reid_core.errors import ParamsError
from reid_core.output import Outlived, outlived
from reid_core.printable import LONGEST_WORD, encodable, one_line

EVIL = "a\x1b[31mred\x1b]0;title\x07\r\nerror: forged\u2028\u202egnp.\u2066\x9b2J\udcff"
SPELT = r"a\x1b[31mred\x1b]0;title\x07\r\nerror: forged\u2028\u202egnp.\u2066\x9b2J\udcff"


# ---- text -------------------------------------------------------------------------------


def test_what_a_terminal_obeys_is_spelt_out():
    assert one_line(EVIL) == SPELT


def test_ordinary_text_of_any_language_stays_as_it_is():
    text = "Straße 行人\t(mAP 0.9) \\ [red] Ω"
    assert one_line(text) == text


@given(st.text(st.characters(codec=None)))
def test_one_line_is_one_line_of_printable_text(text):
    found = one_line(text)
    assert len(found.splitlines()) <= 1
    assert not any((ord(c) < 32 and c != "\t") or 127 <= ord(c) < 160 for c in found)
    found.encode()  # no surrogate is left
    assert one_line(found) == found


def test_long_words_are_shortened_and_long_lines_cut():
    assert one_line("x" * LONGEST_WORD) == "x" * LONGEST_WORD
    found = one_line("path: " + "x" * 9999 + " end")
    assert found.startswith("path: xxx")
    assert "...(9999 characters)..." in found
    assert found.endswith("x end")
    assert len(found) < 600
    assert len(one_line("word " * 100_000)) < 20_000


@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "no-such-encoding"])
def test_what_an_encoding_lacks_is_escaped(encoding):
    assert encodable("行 x", encoding) == r"\u884c x"


# ---- say --------------------------------------------------------------------------------


def test_say_prints_one_line_and_tells_who_listens(capsys):
    heard = []
    with heard_by(heard.append):
        say(EVIL)
        warn("[red]x[/red]")
    say("not heard")
    assert capsys.readouterr().out == f"{SPELT}\nwarning: [red]x[/red]\nnot heard\n"
    assert heard == [SPELT, "warning: [red]x[/red]"]


def test_say_without_an_output_still_tells_who_listens(monkeypatch):
    heard = []
    monkeypatch.setattr(sys, "stdout", None)
    with heard_by(heard.append):
        say("here")
    assert heard == ["here"]


def test_bars_do_not_obey_names(monkeypatch):
    class Terminal(io.StringIO):
        encoding = "utf-8"

        def isatty(self):
            return True

    terminal = Terminal()
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setattr(sys, "stdout", terminal)
    with progress_bar("[red]pack\x1b[2J[/red]") as tick:
        tick(1, 2, "[bold]name\x1b]0;t\x07")
        say("[green]said[/green]\x1b[2J")
    shown = terminal.getvalue()
    assert r"[red]pack\x1b[2J[/red]" in shown
    assert r"[bold]name\x1b]0;t\x07" in shown
    assert r"[green]said[/green]\x1b[2J" in shown
    assert "\x1b[2J" not in shown
    assert "\x1b]0" not in shown


# ---- errors -----------------------------------------------------------------------------


class Command:
    def __init__(self, act):
        self.act = act

    def add_arguments(self, parser):
        parser.add_argument("--kind", choices=["a"])

    def run(self, args):
        return self.act()


@pytest.fixture
def only(monkeypatch):
    """A function that makes a command of one function the only one, with a summary."""

    def use(act, summary="acts"):
        class Plugin:
            @hookimpl
            def reid_command(self):
                return [Component(name="act", build=lambda params: Command(act), summary=summary)]

        catalog = isolated_catalog(Plugin())
        monkeypatch.setattr(cli, "load_catalog", lambda: catalog)

    return use


def raising(error):
    def act():
        raise error

    return act


def test_an_error_is_printed_as_the_lines_it_has(only, capsys):
    only(raising(ReidError(f"image '{EVIL}'", "second line")))
    assert main(["act"]) == 2
    assert capsys.readouterr().err == f"error: image '{SPELT}'\nsecond line\n"


def test_the_problems_of_params_are_a_line_each_whatever_the_file_is_called(only, capsys):
    only(raising(ParamsError("p\nq.json", ["a: wrong", "b: \x1b[31m"])))
    assert main(["act"]) == 2
    expected = "error: p\\nq.json: a: wrong\np\\nq.json: b: \\x1b[31m\n"
    assert capsys.readouterr().err == expected


def test_what_a_plugin_raises_and_its_traceback_are_filtered(only, capsys, monkeypatch):
    monkeypatch.setenv("REID_CORE_TRACEBACK", "1")
    only(raising(RuntimeError(f"no {EVIL}")))
    assert main(["act"]) == 2
    err = capsys.readouterr().err
    assert err.startswith("Traceback (most recent call last):\n")
    assert not set(err) & set("\x1b\x07\r\u202e\u2066\x9b")


def test_help_and_complaints_of_the_parser_are_filtered(only, capsys):
    only(lambda: 0, summary="acts\x1b[31m \u202e")
    for arguments in (["--help"], ["act", "--help"], ["act", "\x1b[31m\r"]):
        with pytest.raises(SystemExit):
            main(arguments)
        captured = capsys.readouterr()
        assert r"\x1b[31m" in captured.out + captured.err
        assert not set(captured.out + captured.err) & set("\x1b\r\u202e")


@pytest.mark.parametrize("error", [ReidError("a", "b"), ParamsError("p", ["a", "b"])])
def test_errors_come_whole_out_of_another_process(error):
    copy = pickle.loads(pickle.dumps(error))
    assert (type(copy), str(copy), copy.args) == (type(error), str(error), error.args)


# ---- an output that fails ---------------------------------------------------------------


class Failing(io.StringIO):
    encoding = "utf-8"

    def write(self, text):
        raise OSError(28, "No space left on device")


def test_a_failure_is_remembered_and_nothing_more_is_tried():
    stream = Outlived(Failing())
    assert stream.write("one") == 3
    lost = stream.lost
    stream.write("two")
    stream.flush()
    assert stream.lost is lost
    assert lost.errno == 28


def test_streams_are_put_back():
    before = sys.stdout, sys.stderr
    with outlived() as (output, errors):
        assert (sys.stdout, sys.stderr) == (output, errors)
    assert (sys.stdout, sys.stderr) == before


ACT = """
import sys
from reid_core import Component, cli, hookimpl
from reid_core.console import say
from reid_core.discovery import isolated_catalog

class Command:
    def add_arguments(self, parser):
        pass
    def run(self, args):
        for number in range(3000):
            say(f"line {number} \\u884c")
        print("past say \\u884c")
        open(sys.argv[1], "w").write("done")

class Plugin:
    @hookimpl
    def reid_command(self):
        return [Component(name="act", build=lambda params: Command(), summary="acts")]

cli.load_catalog = lambda: isolated_catalog(Plugin())
sys.exit(cli.main(["act"]))
"""


@pytest.mark.parametrize(
    ("redirection", "status", "message"),
    [
        ("> /dev/full", 74, "standard output cannot be written: No space left on device; all else"),
        (">&-", 74, "standard output cannot be written: it is closed; all else was done"),
        ("| head -1 > /dev/null; exit ${PIPESTATUS[0]}", 141, ""),
        ("2>&- > /dev/full", 74, ""),
        ("> /dev/null", 0, ""),
    ],
)
def test_a_command_does_all_else_when_its_output_fails(tmp_path, redirection, status, message):
    script = tmp_path / "act.py"
    script.write_text(textwrap.dedent(ACT))
    done = subprocess.run(
        ["bash", "-c", f'"$0" "$1" "$2" {redirection}', sys.executable, script, tmp_path / "mark"],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert (done.returncode, (tmp_path / "mark").read_text()) == (status, "done")
    assert message in done.stderr
    assert done.stderr.count("\n") == bool(message)


@pytest.mark.parametrize(
    "settings",
    [
        {"PYTHONIOENCODING": "ascii"},
        {"PYTHONIOENCODING": "cp1252"},
        {"LC_ALL": "C", "PYTHONUTF8": "0"},
    ],
)
def test_an_output_of_another_encoding_gets_escapes(tmp_path, settings):
    script = tmp_path / "act.py"
    script.write_text(textwrap.dedent(ACT))
    done = subprocess.run(
        [sys.executable, script, tmp_path / "mark"],
        capture_output=True,
        env={**os.environ, "PYTHONCOERCECLOCALE": "0", **settings},
        timeout=120,
    )
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout.splitlines()[-1] in (b"past say \\u884c", "past say 行".encode())


def test_files_do_not_take_the_number_of_a_closed_output(tmp_path):
    code = (
        "import os, sys\nfrom reid_core.output import outlived\n"
        f"with outlived():\n    file = open({str(tmp_path / 'store')!r}, 'w')\n"
        "    os.write(2, b'')\n    sys.exit(file.fileno() < 3)"
    )
    done = subprocess.run(["bash", "-c", '"$0" -c "$1" >&- 2>&-', sys.executable, code], timeout=60)
    assert done.returncode == 0


# ---- nobody prints past it --------------------------------------------------------------


ROOT = Path(__file__).parents[2]
MAY_PRINT = {
    "reid_core/console.py": "prints what it has filtered",
    "reid_core/cli.py": "prints errors that it has filtered",
    "reid_core/program.py": "runs before anything can be imported, and prints words of its own",
    "plugins/reid_plugins/command/train.py": "prints its own help, which has several lines",
    "plugins/reid_plugins/command/schema.py": "JSON of ASCII, whose long words must stay whole",
}


def prints(file):
    """Return the lines of a file that call print or write to a standard stream."""
    found = []
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call):
            name = ast.unparse(node.func)
            if name == "print" or name.startswith(("sys.stdout.write", "sys.stderr.write")):
                found.append(node.lineno)
    return found


def test_everything_is_printed_by_say():
    files = [f for room in ("reid_core", "plugins") for f in (ROOT / room).rglob("*.py")]
    printing = {f.relative_to(ROOT).as_posix() for f in files if prints(f)}
    assert printing == set(MAY_PRINT)


class OnlyWrites:
    """What many programs put in the place of standard output to copy it into a file."""

    def __init__(self):
        self.text = ""

    def write(self, text):
        self.text += text

    def flush(self):
        pass


def test_what_stands_for_standard_output_need_only_write(monkeypatch):
    stands_in = OnlyWrites()
    monkeypatch.setattr("sys.stdout", stands_in)
    say("one")
    with progress_bar("work") as tick:
        tick(1, 1, "done")
    assert stands_in.text.startswith("one\nwork: 1/1")

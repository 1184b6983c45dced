"""Commands: every option is explained, and ``--help`` works."""

import argparse

import pytest

from reid_core.cli import main


@pytest.fixture
def parser(command, catalog):
    built = command.build(catalog=catalog)
    assert callable(built.run)
    parser = argparse.ArgumentParser(prog=command.name, description=command.component.summary)
    built.add_arguments(parser)
    return parser


def test_every_argument_is_explained(parser):
    unexplained = [action.dest for action in parser._actions if not action.help]
    assert unexplained == []


def test_help_names_every_option(parser):
    text = parser.format_help()
    for action in parser._actions:
        assert all(option in text for option in action.option_strings)


def test_the_program_prints_the_help_of_the_command(command, capsys):
    with pytest.raises(SystemExit) as stop:
        main([command.name, "--help"])
    assert stop.value.code == 0
    text = " ".join(capsys.readouterr().out.split())
    assert text.startswith(f"usage: reid {command.name}")
    assert command.component.summary in text


def test_the_list_of_commands_names_the_command(command, capsys):
    with pytest.raises(SystemExit):
        main(["--help"])
    text = " ".join(capsys.readouterr().out.split())
    assert f"{command.name} {command.component.summary}" in text


def test_an_unknown_option_is_refused(command, capsys):
    with pytest.raises(SystemExit) as stop:
        main([command.name, "--no-such-option"])
    assert stop.value.code == 2
    assert "usage:" in capsys.readouterr().err

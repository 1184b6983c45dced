"""A test may be left out for a reason that stands here; any other skip fails the session."""

from fnmatch import fnmatchcase

import pytest

ALLOWED = (
    "no browser to look at a page with: install chromium or google-chrome",
    "no Omniglot images at *",  # data of others that cannot be shipped
    "a small disk can be mounted by root alone",
)
"""The reasons, as globs."""


class SkipCheck:
    """Collects why tests were skipped, and fails the session over reasons that nobody allowed."""

    def __init__(self):
        self.refused = []

    def pytest_runtest_logreport(self, report):
        if report.skipped and not hasattr(report, "wasxfail"):
            self.note(report)

    def pytest_collectreport(self, report):
        if report.skipped:
            self.note(report)

    def note(self, report):
        reason = report.longrepr[2].removeprefix("Skipped: ")
        if not any(fnmatchcase(reason, allowed) for allowed in ALLOWED):
            self.refused.append(f"{report.nodeid}: {reason}")

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self, session):
        passed = (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED)
        if self.refused and session.exitstatus in passed:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter):
        if self.refused:
            terminalreporter.section("skipped for a reason that tests/support/skips.py lacks")
            for line in self.refused:
                terminalreporter.line(line, red=True)


def pytest_configure(config):
    config.pluginmanager.register(SkipCheck())

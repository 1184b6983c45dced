"""Rules over many things in one test each, which names everything that is wrong at once."""

import pytest


def listed(problems):
    """Return the problems below each other, as the message of an ``assert not problems``."""
    return "\n".join(["", *map(str, problems)])


def for_each(things):
    """Turn a test of one thing into a test that fails with every thing on which it fails.

    Args:
        things: A function that returns them when the test runs; there must be one at least.
    """

    def wrapped(rule):
        def test():
            found, everything = [], things()
            assert everything, "there is nothing to test"
            for thing in everything:
                try:
                    rule(thing)
                except (Exception, pytest.fail.Exception) as error:
                    found.append(f"{thing}: {type(error).__name__}: {error}")
            assert not found, listed(found)

        test.__name__, test.__doc__, test.__module__ = rule.__name__, rule.__doc__, rule.__module__
        return test

    return wrapped

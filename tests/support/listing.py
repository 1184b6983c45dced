"""One line per problem, for tests that go through many things and name all that are wrong."""


def listed(problems):
    """Return the problems below each other, as the message of an ``assert not problems``."""
    return "\n".join(["", *map(str, problems)])

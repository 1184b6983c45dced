"""The contract tests of components, for authors of plugins and for reid-core itself.

``check_component("loss", "mine")`` in a test of yours is all that is needed; what is checked and
what a ``Case`` is for stands in docs/writing_plugins.md.
"""

from reid_core.testing.checking import check_component, checks_of
from reid_core.testing.subject import Case, Subject

__all__ = ["Case", "Subject", "check_component", "checks_of"]

"""What holds for all tests: the program's in tests/, the sandbox's in sandbox/tests/."""

import os

import hypothesis

from sandbox.client import plugin

pytest_plugins = ["tests.worlds"]

# A busy machine makes examples slower, and must not make them fail: pytest's own durations show what is slow.
hypothesis.settings.register_profile("django-do", deadline=None)
hypothesis.settings.load_profile("django-do")

# Whatever this machine has installed: what the tests assert, and how long they take, must not depend on it. The
# official plugin has tests of its own, in tests/official.
os.environ[plugin.CHOICE] = "own"

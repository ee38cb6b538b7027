"""How the program begins: what this process needs, then the settings."""

import gc
import signal
from collections.abc import Iterable

import pulumi

from config.loading import load
from config.project.rules import project_hints, project_notes
from config.stack import StackConfig
from config.state_folder import require_room


def begin() -> StackConfig:
    """Return the settings, once everything is imported; raises pulumi.RunError when nothing should be begun."""
    # The SDKs make more than a hundred thousand objects that stay until the end. Without this, Python would look for
    # garbage among them when it exits, which was a tenth of a preview's time.
    gc.freeze()
    # After Ctrl-C the engine ends this program by SIGINT. Python would wait for threads whose questions the engine
    # answers no more, and the engine 5 s for Python.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    require_room()
    config = load()
    for note in (*project_notes(config), *_certificate_notes(config)):
        pulumi.log.warn(note)
    for hint in project_hints(config):
        pulumi.log.info(hint)
    return config


def _certificate_notes(config: StackConfig) -> Iterable[str]:
    if config.web.certificate is None:
        return ()
    from config import certificate_rules  # noqa: PLC0415 - 0.1 s, and seldom needed

    return certificate_rules.notes(config.web.certificate)

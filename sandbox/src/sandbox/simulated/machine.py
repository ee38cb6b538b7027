"""The machine that a simulated node has for an agent: its files are real; what would need a machine is only said."""

import contextlib
import importlib
import importlib.util
import json
import logging
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, Self

import yaml

logger = logging.getLogger("sandbox.simulated_machine")

# What the agent's own user data writes, of which a simulated node needs these two: where its Spaces are, and what
# fetches the agent's package from them.
CONFIG = "/etc/release-agent/config.json"
START = "/usr/local/lib/web/start.py"
PACKAGES = "/usr/local/lib/web/agents"
# As systemd-tmpfiles would make them.
_FOLDERS = ("srv/app/cache", "srv/app/pythons", "srv/app/releases", "var/lib/release-agent", PACKAGES[1:])


@dataclass(frozen=True, kw_only=True, slots=True)
class Disk:
    """What cloud-init leaves in a node's folder, which stands for the root of its disk."""

    root: Path

    @classmethod
    def written(cls, root: Path, user_data: str) -> Self | None:
        """Write the agent's files as cloud-init would; None when the user data has none."""
        files = {file["path"]: file for file in _write_files(user_data)}
        if not {CONFIG, START} <= files.keys():
            return None
        disk = cls(root=root)
        for path in (CONFIG, START):
            target = disk.path(path)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.touch(mode=int(files[path].get("permissions", "0644"), 8))
            target.write_text(files[path]["content"])
        for folder in _FOLDERS:
            (root / folder).mkdir(parents=True, exist_ok=True)
        return disk

    def path(self, name: str) -> Path:
        """Return where a file of the Droplet is on this machine."""
        return self.root / name.lstrip("/")

    @property
    def serving(self) -> str | None:
        """The release that is switched on, None if none is."""
        try:
            return self.path("/srv/app/current").readlink().name
        except FileNotFoundError:
            return None

    @property
    def served_by(self) -> str | None:
        """What /healthz says of who answers, None while nothing is served."""
        try:
            settings = json.loads(self.path("/srv/app/current/environment.json").read_bytes())
        except FileNotFoundError:
            return None
        return str(settings["env"]["SERVED_BY"])

    @property
    def config(self) -> dict[str, str]:
        """What cloud-init tells the agent."""
        config: dict[str, str] = json.loads(self.path(CONFIG).read_bytes())
        return config

    def package(self, droplet_id: int) -> Path:
        """Run the Droplet's own start.py as far as the unpacked package; it reports and ends (SystemExit) without."""
        start = _module("start", self.path(START))
        found: Path = start.package(self.config, lambda: str(droplet_id), packages=self.path(PACKAGES))
        return found


def _write_files(user_data: str) -> list[dict[str, str]]:
    try:
        cloud_config = yaml.safe_load(user_data)
    except yaml.YAMLError:
        return []
    files = cloud_config.get("write_files", []) if isinstance(cloud_config, dict) else []
    return [file for file in files if {"path", "content"} <= file.keys()]


def _module(name: str, file: Path) -> ModuleType:
    """Load a Python file that is not part of the sandbox."""
    _with_filters()
    specification = importlib.util.spec_from_file_location(name, file)
    assert specification
    assert specification.loader
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


def _with_filters() -> None:
    """Give Python before 3.11.4 (Debian 12's) the tarfile with filters: a Droplet has 3.13."""
    import tarfile  # noqa: PLC0415 - replaced before anybody imports it who needs the newer one

    if not hasattr(tarfile, "data_filter"):
        from backports import tarfile as newer  # type: ignore[import-untyped] # noqa: PLC0415 - only there

        sys.modules["tarfile"] = newer


class _Machine:
    """What a simulated node does instead of a machine, put before the agent's own `Machine`."""

    current: Path  # the agent's: its link to the release that serves
    node: str  # Droplet id

    def droplet_id(self) -> str:
        """Return the id without a metadata service."""
        return self.node

    def alive(self) -> None:
        """Tell nobody: systemd's watchdog is not there."""

    def acting_as_user(self) -> contextlib.AbstractContextManager[None]:
        """Stay the world's user: there is no other."""
        return contextlib.nullcontext()

    def run(self, command: list[str], *, directory: Path, environment: Mapping[str, str]) -> str:
        """Play the programs that the agent runs itself: uv, and the compilation of what it installed."""
        logger.info("simulated: `%s` in %s", " ".join([Path(command[0]).name, *command[1:]]), directory)
        if "UV_PROJECT_ENVIRONMENT" in environment:
            server = Path(environment["UV_PROJECT_ENVIRONMENT"], "bin/gunicorn")
            server.parent.mkdir(parents=True, exist_ok=True)
            server.touch()  # nobody starts it
        return ""

    def app(
        self, folder: Path, wsgi: str, environment: Mapping[str, str]
    ) -> contextlib.AbstractContextManager["_Steps"]:
        """Import no app."""
        logger.info("simulated: %s: import of %s with %d variables", folder.name, wsgi, len(environment))
        return contextlib.nullcontext(_Steps(folder.name))

    def migration_lock(self, folder: Path, environment: Mapping[str, str]) -> contextlib.AbstractContextManager[None]:
        """Lock nothing: nothing is migrated."""
        logger.info("simulated: %s: lock for migrations, %d variables", folder.name, len(environment))
        return contextlib.nullcontext()

    def sync(self, folder: Path) -> None:
        """Leave it to the system when it writes: a simulated node's power does not go away."""
        logger.debug("simulated: sync of %s", folder)

    def systemctl(self, *arguments: str) -> None:
        """Say what systemd would do."""
        logger.info("simulated: `systemctl %s`", " ".join(arguments))

    def missing_to_build(self) -> str | None:
        """Lack nothing: a simulated node has nothing to install."""
        return None

    missing_to_import = missing_to_serve = missing_to_build

    def journal(self, name: str) -> str:
        """Return no words of Gunicorn: it does not run."""
        logger.info("simulated: the journal of %s", name)
        return ""

    def examine(self, folder: Path, expected: Mapping[str, str]) -> tuple[list[tuple[str, str]], str]:
        """Find nothing wrong: no app is imported."""
        logger.info("simulated: %s: settings compared with %s", folder.name, expected)
        return [], ""

    def start_candidate(self, folder: Path) -> None:
        """Say what would be started."""
        logger.info("simulated: %s: a candidate starts", folder.name)

    def end_candidate(self) -> None:
        """Say what would be ended."""
        logger.info("simulated: the candidate ends")

    def health(self, domain: str, release: str, page: Any, which: str) -> Any:  # noqa: ANN401 - the agent's
        """Find a candidate healthy, and the release that is switched on."""
        serves = which == "candidate" or (self.current.is_symlink() and self.current.readlink().name == release)
        said = "good" if serves else "it is not switched on"
        logger.info("simulated: health of %s, %s, on %s%s: %s", which, release, domain, page.path, said)
        return None if serves else importlib.import_module("agent.health").Problem(text=said)

    def crashes(self, *, since: float) -> str:
        """Find no crash: nothing runs."""
        logger.debug("simulated: crashes since %s", since)
        return ""

    def leave(self) -> None:
        """Leave at once: no visitor is here."""
        logger.info("simulated: the load balancer is told to send nobody any more")

    def stay(self) -> None:
        """Be there."""

    def shortcomings(self, domain: str, page: Any) -> list[str]:  # noqa: ANN401 - the agent's
        """Find nothing that visitors would miss: there is no page."""
        logger.info("simulated: what %s%s names is looked at", domain, page.path)
        return []


class _Steps:
    """The app's own steps, of which a simulated node says that they would be made."""

    def __init__(self, release: str) -> None:
        self._release = release

    def manage(self, *arguments: str, unless: str = "", within: float | None = None) -> str | None:  # noqa: ARG002
        """Play a command of manage.py; the answer is that of an app that does not have it, so without static files."""
        logger.info("simulated: %s: `manage.py %s`%s", self._release, " ".join(arguments), unless and " or none")
        return None

    def static_settings(self) -> tuple[str, str]:
        """Return STATIC_ROOT and STATIC_URL as the agent reads them of such an app."""
        return "None", "None"

    def stranger(self) -> str:
        """Know no superuser but the one that was just made."""
        return ""

    def close(self) -> None:
        """End nothing."""


def agent_of(package: Path, disk: Disk, droplet_id: int) -> Any:  # noqa: ANN401 - the agent is not the sandbox's
    """Return the unpacked agent's own Follower, on a machine that is this node's folder."""
    _with_filters()
    sys.path.insert(0, str(package))
    config, follow, machine = (importlib.import_module(f"agent.{name}") for name in ("config", "follow", "machine"))
    simulated = type("SimulatedMachine", (_Machine, machine.Machine), {"node": str(droplet_id)})
    # Files belong to the world's user, whoever that is: it may have no name.
    here = simulated(root=disk.root, user=os.getuid())
    return follow.Follower(machine=here, config=config.Config.read(disk.path(CONFIG)))

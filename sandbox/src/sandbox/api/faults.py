"""Faults that a test switches on: wrong answers by method and path, dropped connections, slow clusters."""

import re
from fnmatch import fnmatchcase
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

_ACTION = re.compile(r"/actions/\d+$")


class Fault(BaseModel):
    """What shall go wrong, for which calls, and how often."""

    model_config = ConfigDict(extra="forbid")

    # "hold" does the work and keeps the answer back until the client is gone.
    kind: Literal["status", "drop", "hold", "slow"]
    method: str = "*"  # of all kinds but "slow": a pattern such as "POST"
    path: str = "*"  # a pattern such as "/v2/databases/*/users"
    count: int = Field(default=1, ge=1)  # how many calls (or clusters, Droplets) it hits
    each: bool = False  # hit every call, by method and path, the first time that it is made; `count` says nothing then
    status: Literal[401, 403, 404, 409, 412, 422, 429, 500, 502, 503, 504] = 500
    message: str = "sandbox: a fault was switched on for this call"
    retry_after: int | None = Field(default=None, ge=0)  # seconds, of kind "status"
    after: bool = False  # of kind "drop": do the work first, then drop the connection without an answer
    # Of kind "slow": what takes longer to create.
    of: Literal["certificate", "database", "droplet", "load_balancer", "vpc_nat_gateway"] = "database"
    seconds: float = Field(default=0, ge=0)  # of kind "slow"


class Faults:
    """The faults that are switched on, oldest first; each goes off after `count` hits."""

    def __init__(self) -> None:
        self._active: list[Fault] = []
        self._met: set[str] = set()  # calls that a fault of `each` has hit

    def add(self, fault: Fault) -> None:
        """Switch a fault on."""
        self._active.append(fault)

    def clear(self, *, keep_met: bool = False) -> None:
        """Switch all faults off; what those of `each` have hit is forgotten, unless they will go on with the rest."""
        self._active.clear()
        if not keep_met:
            self._met.clear()

    def met(self) -> list[str]:
        """Return the calls that faults of `each` have hit, such as "POST /v2/vpcs"."""
        return sorted(self._met)

    def active(self) -> list[Fault]:
        """Return those that are still on."""
        return list(self._active)

    def hit(self, method: str, path: str) -> Fault | None:
        """Return the fault that this call meets, if any, and count it."""
        for fault in self._active:
            if fault.kind == "slow" or not (fnmatchcase(method, fault.method) and fnmatchcase(path, fault.path)):
                continue
            if not fault.each:
                self._count(fault)
                return fault
            # Every action has a new number, and it is the same call that looks how it goes.
            if (call := f"{method} {_ACTION.sub('/actions/…', path)}") not in self._met:
                self._met.add(call)
                return fault
        return None

    def delay(self, of: str) -> float:
        """Return by how many seconds a creation shall be slower."""
        for fault in self._active:
            if fault.kind == "slow" and fault.of == of:
                self._count(fault)
                return fault.seconds
        return 0

    def _count(self, fault: Fault) -> None:
        fault.count -= 1
        if fault.count == 0:
            self._active.remove(fault)

"""Refuses to create what the account has already, before anything else is created."""

import asyncio
import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from threading import Lock
from typing import Any

import pulumi

from components.account import Look, Note, Problem, Wanted
from config.loading import provider_setting
from config.stack import StackConfig
from provider import api

SECONDS = 5.0  # for one answer: a preview does not wait longer
# So long an update holds one resource back until the others were looked for; with `--parallel 1` it comes to that.
HELD = 5.0
# How often the stack's outputs are read at most, and the seconds before another time.
READS, READ_AGAIN = 20, 0.1


class Existing:
    """Hooks that look for something in the account when the engine would create it, and refuse then.

    Only the engine knows what is this stack's. It calls a hook `before_create` for what it has not: not for what it
    keeps or was imported. So previews of what is deployed ask nothing. An update without a preview meets the refusals
    of `first` before anything is created: what else is made without delay waits for `looked`.
    """

    def __init__(self, config: StackConfig, environment: Mapping[str, str] = os.environ) -> None:
        self._wanted = Wanted(
            stack=pulumi.get_stack(),
            name=config.name,
            region=config.region,
            domain=config.domain,
            cidr=config.network.cidr,
            droplets=config.web.count,
            edge=config.edge,
        )
        self._token = provider_setting("token") or api.token(environment)
        self._endpoint = provider_setting("apiEndpoint") or api.endpoint(environment)
        self._lock = Lock()
        self._api: api.Api | None = None
        self._first: dict[str, asyncio.Event] = {}
        self._refused: set[str] = set()
        self._unreadable = False
        # Not the loop's own: its few threads may all wait for the engine, which waits for a hook.
        self._threads = ThreadPoolExecutor(max_workers=4)
        self._looked: pulumi.Output[list[pulumi.Resource]] | None = None
        # What the stack has put out. Asked before the first resource: in a hook the answer would need one of the loop's
        # threads, see above.
        self.own: pulumi.Output[Mapping[str, Any]] = _own()

    def refusal(
        self, role: str, *looks: Look, first: bool = False, ahead: Look | None = None
    ) -> pulumi.ResourceOptions:
        """Return the options of one resource; what is `first` must be told by `registered`, too.

        An update takes the look `ahead`, too, which is another resource's that comes later. The options may be those of
        several resources: the first asks, before any of them is made, and the others wait for the answer.
        """
        if first:
            self._first[role] = asyncio.Event()

        if ahead and not pulumi.runtime.is_dry_run():
            looks += (ahead,)

        asking: list[asyncio.Future[None]] = []

        async def refuse(_args: pulumi.ResourceHookArgs) -> None:
            if not asking:
                asking.append(asyncio.ensure_future(self._refuse(role, looks)))
                await asking[0]
                return
            await asyncio.wait(asking)
            if asking[0].exception():
                raise pulumi.RunError("it is not made, either")

        hook = pulumi.ResourceHook(
            f"{self._wanted.name}-existing-{role}", refuse, pulumi.ResourceHookOptions(on_dry_run=True)
        )
        return pulumi.ResourceOptions(
            hooks=pulumi.ResourceHookBinding(before_create=[hook]),
            # `pulumi import` without --parent makes a resource of the stack itself.
            aliases=[pulumi.Alias(parent=pulumi.ROOT_STACK_RESOURCE)],
        )

    async def _refuse(self, role: str, looks: Sequence[Look]) -> None:
        loop = asyncio.get_running_loop()
        findings = await loop.run_in_executor(self._threads, self._ask, looks, self._wanted)
        own = await self.own.future() or {}
        if _problems(findings) and own:
            wanted = replace(
                self._wanted,
                own_cluster=own.get("database_id"),
                own_droplets=len(own.get("droplet_ids") or ()),
                own_edge=own.get("edge"),
            )
            findings = await loop.run_in_executor(self._threads, self._ask, looks, wanted)
        problems = _problems(findings)
        for note in findings:
            if isinstance(note, Note):
                pulumi.log.warn(note)
        if problems:
            self._refused.add(role)
        first = self._first.get(role)
        if first:
            first.set()
        if problems:
            raise pulumi.RunError("\n".join(problems))
        if first and not pulumi.runtime.is_dry_run():
            await self._others()

    def registered(self, role: str, resource: pulumi.Resource) -> None:
        """Take note of a resource whose hook is not called when it is this stack's already."""

        async def settle() -> str | None:
            try:
                return await resource.urn.future()
            finally:  # nobody waits for what failed
                self._first[role].set()

        _settled: pulumi.Output[str | None] = pulumi.Output.from_input(settle())  # the program's end waits for it

    @property
    def looked(self) -> pulumi.Input[list[pulumi.Resource]]:
        """What to depend on so as to be created when nothing was found that is in the way; no resource."""
        if pulumi.runtime.is_dry_run():
            return []
        if self._looked is None:
            self._looked = pulumi.Output.from_input(self._all_looked())
        return self._looked

    async def _all_looked(self) -> list[pulumi.Resource]:
        await asyncio.gather(*(event.wait() for event in self._first.values()))
        if self._refused:
            raise pulumi.RunError("nothing else is created: what exists already comes first")
        return []

    async def _others(self) -> None:
        """Wait until the others of `first` were looked for, too; raises pulumi.RunError when one is in the way."""
        try:
            await asyncio.wait_for(self._all_looked(), HELD)
        except TimeoutError:
            pulumi.log.debug("the engine comes to one resource at a time")

    def _ask(self, looks: Sequence[Look], wanted: Wanted) -> list[Problem | Note]:
        if not self._token:
            return []  # the provider says so
        try:
            with self._lock:  # one for all threads, made when the first asks: it reads the trust store
                self._api = self._api or api.Api(self._token, self._endpoint, SECONDS)
            return [finding for look in looks for finding in look(self._api.get, wanted)]
        except api.UnreadableError as error:
            said, self._unreadable = self._unreadable, True
            return [] if said else [Note(f"what exists already in the account was not looked for: {error}")]


def _problems(findings: Sequence[Problem | Note]) -> list[Problem]:
    return [finding for finding in findings if isinstance(finding, Problem)]


def _own() -> pulumi.Output[Mapping[str, Any]]:
    """Return the outputs that the stack has from its last update.

    Its cluster is still there when a preview comes to the one in its place, for which the engine calls the hook, too.
    The state itself can't be read: `readStackResourceOutputs` ends an engine whose stack has none (pulumi 3.276).
    """
    stack = f"{pulumi.get_organization()}/{pulumi.get_project()}/{pulumi.get_stack()}"

    async def ask() -> Mapping[str, Any]:
        own: Mapping[str, Any] = (await _outputs(stack))["outputs"]
        return own

    asked: pulumi.Output[Mapping[str, Any]] = pulumi.Output.from_input(ask())
    return asked


async def _outputs(stack: str) -> dict[str, Any]:
    """Read the stack's outputs, again if an update was just writing them.

    In a backend of files the engine reads a second file with each, which is empty for a moment whenever it writes the
    state (fileblob of gocloud.dev 0.46: setAttrs); it then fails with "failed to load checkpoint: EOF".
    """
    for _ in range(READS - 1):
        try:
            return await _invoke(stack)
        except Exception as error:  # the SDK has no narrower one (3.272, runtime/invoke.py)
            if not str(error).endswith(": EOF"):
                raise
        await asyncio.sleep(READ_AGAIN)
    return await _invoke(stack)


async def _invoke(stack: str) -> dict[str, Any]:
    found: dict[str, Any] = await pulumi.runtime.invoke_async("pulumi:pulumi:readStackOutputs", {"name": stack})
    return found

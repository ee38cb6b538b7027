"""The resources as the program declares them; what they do is in the other files of this folder, in another process."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import pulumi

from protocol.document import DocumentError
from protocol.environment import canonical, content_hash, environment_key
from protocol.release import artifact_key
from provider.actions import ActionError
from provider.uploads.agent_package import SOURCES, Sources, describe
from provider.uploads.archive import digest
from provider.uploads.artifact import members
from provider.uploads.project_files import ProjectFiles
from provider.uploads.release_contents import contents

# Not the project's name: the engine passes every setting of a namespace to the provider of that name.
PACKAGE = "django-do-runner"


@contextmanager
def refusing(what: str = "app.path") -> Iterator[None]:
    """Let what can't be done be the program's one error: Pulumi shows the traceback of any other."""
    try:
        yield
    except (ActionError, DocumentError) as error:
        raise pulumi.RunError(str(error)) from None
    except OSError as error:
        raise pulumi.RunError(
            f"{what}: must be readable, {error.filename} is not ({error.strerror}); change its mode, or take it away"
        ) from None


class _Resource(pulumi.CustomResource):
    """A resource of this package; its type has its class's name, which the state of every stack has, too."""

    def __init__(self, name: str, props: Mapping[str, Any], opts: pulumi.ResourceOptions | None) -> None:
        kind = type(self).__name__
        # So that the plugin is shown what an older version made, and refuses it: without, the engine would plan to make
        # all of it anew, other secrets too.
        older = pulumi.ResourceOptions(aliases=[pulumi.Alias(type_=f"pulumi-python:dynamic/django-do:{kind}")])
        super().__init__(f"{PACKAGE}:index:{kind}", name, dict(props), pulumi.ResourceOptions.merge(opts, older))


class Secret(_Resource):
    """Random text of `length` characters (letters, digits, `-` and `_`)."""

    value: pulumi.Output[str]

    def __init__(self, name: str, *, length: int = 50, opts: pulumi.ResourceOptions | None = None) -> None:
        options = pulumi.ResourceOptions(additional_secret_outputs=["value"])
        super().__init__(name, {"length": length, "value": None}, pulumi.ResourceOptions.merge(opts, options))


class DiscardedKey(_Resource):
    """An ed25519 key that nobody can log in with; `public_key` is in OpenSSH's format."""

    public_key: pulumi.Output[str]

    def __init__(self, name: str, *, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__(name, {"public_key": None}, opts)


class DatabaseGrants(_Resource):
    """Rights of the roles `migrator` (owns the tables) and `app` (rows only) in a database, and the roles' settings.

    An empty `ca` stands for the trust store of this machine. Deleting this changes nothing: the database goes with its
    cluster.
    """

    def __init__(
        self,
        name: str,
        *,
        admin_uri: pulumi.Input[str],
        host: pulumi.Input[str],
        port: pulumi.Input[int],
        database: pulumi.Input[str],
        ca: pulumi.Input[str],
        migrator: pulumi.Input[str],
        migrator_password: pulumi.Input[str],
        app: pulumi.Input[str],
        app_password: pulumi.Input[str],
        app_settings: pulumi.Input[Mapping[str, pulumi.Input[str]]],
        migrator_settings: pulumi.Input[Mapping[str, pulumi.Input[str]]],
        extensions: Sequence[str] = (),
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        props = {
            "admin_uri": pulumi.Output.secret(admin_uri),
            "host": host,
            "port": port,
            "database": database,
            "ca": ca,
            "migrator": migrator,
            "migrator_password": pulumi.Output.secret(migrator_password),
            "app": app,
            "app_password": pulumi.Output.secret(app_password),
            "app_settings": app_settings,
            "migrator_settings": migrator_settings,
            "extensions": list(extensions),
        }
        options = pulumi.ResourceOptions(additional_secret_outputs=["admin_uri", "migrator_password", "app_password"])
        super().__init__(name, props, pulumi.ResourceOptions.merge(opts, options))


class AgentPackage(_Resource):
    """What every Droplet runs beside the app, as `agents/<sha256>.tar`.

    The digest is taken here, in the program, so that preview shows the Droplets that another agent replaces. A preview
    asks Spaces for nothing; an update looks whether the object is there, and fills a Space that was emptied by hand.
    Raises pulumi.RunError when it can't be one.
    """

    sha256: pulumi.Output[str]
    key: pulumi.Output[str]

    def __init__(
        self,
        name: str,
        *,
        bucket: pulumi.Input[str],
        region: pulumi.Input[str],
        sources: Sources = SOURCES,
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        with refusing("cloud-init/agent"):
            sha256, key = describe(sources)
        look = not pulumi.runtime.is_dry_run()
        props = {"bucket": bucket, "region": region, "sha256": sha256, "key": key, "look": look}
        super().__init__(name, props, opts)


class Artifact(_Resource):
    """The files of the tree at `path` (from the directory of Pulumi.yaml) as `artifacts/<sha256>.tar`.

    The digest is taken here, in the program, so that preview shows a changed tree and the release that comes of it; it
    says which files go, too. `exclude` and `include` are what `files` were found by: an update finds them anew.
    Raises pulumi.RunError when it can't be one.
    """

    sha256: pulumi.Output[str]
    key: pulumi.Output[str]

    def __init__(
        self,
        name: str,
        *,
        bucket: pulumi.Input[str],
        region: pulumi.Input[str],
        path: str | Path,
        files: ProjectFiles,
        exclude: Sequence[str] = (),
        include: Sequence[str] = (),
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        with refusing():
            sha256 = digest(members(files))
        props = {
            "bucket": bucket,
            "region": region,
            "path": Path(path).as_posix(),
            "exclude": list(exclude),
            "include": list(include),
            "sha256": sha256,
            "key": artifact_key(sha256),
        }
        super().__init__(name, props, opts)
        if pulumi.runtime.is_dry_run():
            found = contents(files)
            for line in filter(None, (found.goes, found.left)):
                pulumi.log.info(line, self)
            if found.built:
                pulumi.log.warn(found.built, self)


class Environment(_Resource):
    """The environment `document` (docs/releases.md), a secret, as an object that is named by its hash."""

    hash: pulumi.Output[str]
    key: pulumi.Output[str]

    def __init__(
        self,
        name: str,
        *,
        bucket: pulumi.Input[str],
        region: pulumi.Input[str],
        document: pulumi.Input[Mapping[str, Any]],
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        text = pulumi.Output.secret(document).apply(_text)
        # The hash is not a secret: it names the object, and what it stands for holds several random keys.
        # Made here and not by the provider, so that preview knows the release.
        content = pulumi.Output.unsecret(text.apply(content_hash))
        props = {
            "bucket": bucket,
            "region": region,
            "document": text,
            "hash": content,
            "key": content.apply(environment_key),
        }
        super().__init__(name, props, opts)


def _text(document: Mapping[str, Any]) -> str:
    with refusing():
        return canonical(document)


class Rollout(_Resource):
    """The release that the Droplets run; done when each of `droplet_ids` reports it.

    First one of them gets it, then the others, `max_unavailable` at once; each has `deadline` seconds for its turn.

    Without `artifact`, `sha256` and `environment` it is a release that was rolled out before (`app.release`).
    `attempt` counts the changes of desired.json.
    """

    release: pulumi.Output[str]
    artifact: pulumi.Output[str]
    sha256: pulumi.Output[str]
    environment: pulumi.Output[str]
    attempt: pulumi.Output[int]

    def __init__(
        self,
        name: str,
        *,
        releases_bucket: pulumi.Input[str],
        state_bucket: pulumi.Input[str],
        region: pulumi.Input[str],
        release: pulumi.Input[str],
        droplet_ids: pulumi.Input[Sequence[pulumi.Input[str]]],
        artifact: pulumi.Input[str] | None = None,
        sha256: pulumi.Input[str] | None = None,
        environment: pulumi.Input[str] | None = None,
        max_unavailable: int = 1,
        deadline: int = 600,
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        props = {
            "releases_bucket": releases_bucket,
            "state_bucket": state_bucket,
            "region": region,
            "release": release,
            "artifact": artifact,
            "sha256": sha256,
            "environment": environment,
            "droplet_ids": droplet_ids,
            "max_unavailable": max_unavailable,
            "deadline": deadline,
            "attempt": None,
        }
        super().__init__(name, props, opts)


class Probe(_Resource):
    """The proof that `url` serves the release, within `deadline` seconds; then the release is a good one.

    `pending` is what is left to do by hand with `dns="external"`, else empty. Each of `droplet_ids` has to answer.
    `edge` says whether TLS can be had by the address alone.
    """

    release: pulumi.Output[str]
    pending: pulumi.Output[str]

    def __init__(
        self,
        name: str,
        *,
        url: pulumi.Input[str],
        address: pulumi.Input[str],
        dns: Literal["managed", "external"],
        edge: Literal["direct", "balanced"],
        release: pulumi.Input[str],
        artifact: pulumi.Input[str],
        sha256: pulumi.Input[str],
        environment: pulumi.Input[str],
        releases_bucket: pulumi.Input[str],
        region: pulumi.Input[str],
        droplet_ids: pulumi.Input[Sequence[pulumi.Input[str]]],
        deadline: int = 300,
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        props = {
            "url": url,
            "address": address,
            "dns": dns,
            "edge": edge,
            "release": release,
            "artifact": artifact,
            "sha256": sha256,
            "environment": environment,
            "releases_bucket": releases_bucket,
            "region": region,
            "droplet_ids": droplet_ids,
            "deadline": deadline,
            "pending": None,
        }
        super().__init__(name, props, opts)


class Member(_Resource):
    """A Droplet behind the load balancer. Before this is deleted, the Droplet is taken out and serves its visitors."""

    def __init__(
        self,
        name: str,
        *,
        droplet_id: pulumi.Input[str],
        releases_bucket: pulumi.Input[str],
        state_bucket: pulumi.Input[str],
        region: pulumi.Input[str],
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        props = {
            "droplet_id": droplet_id,
            "releases_bucket": releases_bucket,
            "state_bucket": state_bucket,
            "region": region,
        }
        super().__init__(name, props, opts)


class BalancerEnd(_Resource):
    """The end of a load balancer. When this is deleted, the balancer is, and with it the connections kept to it.

    `elsewhere` says that the stack's settings have another token or place of the API than the environment may have.
    """

    def __init__(
        self,
        name: str,
        *,
        balancer_id: pulumi.Input[str],
        elsewhere: bool,
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        super().__init__(name, {"balancer_id": balancer_id, "elsewhere": elsewhere}, opts)


class NewAddress(_Resource):
    """The address that the site's name is to lead to; an update waits, for `deadline` s, until it serves `release`.

    `old_is_asked_for` are the seconds in which resolvers still know the address before: `ttl` of that time. `before`
    are all earlier addresses.
    """

    address: pulumi.Output[str]
    before: pulumi.Output[list[str]]
    old_is_asked_for: pulumi.Output[int]

    def __init__(
        self,
        name: str,
        *,
        url: pulumi.Input[str],
        address: pulumi.Input[str],
        region: str,
        release: pulumi.Input[str],
        ttl: int,
        deadline: int = 300,
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        props = {"url": url, "address": address, "region": region, "release": release, "ttl": ttl, "deadline": deadline}
        super().__init__(name, {**props, "before": None, "old_is_asked_for": None}, opts)


class Handover(_Resource):
    """The time in which an old address is still asked, `old_is_asked_for` seconds from when the name has another one.

    An update waits for its end, for at most `patience` seconds, and fails then: so that nothing old is deleted. By
    `droplet_ids` it hears who answers at the name.
    """

    def __init__(
        self,
        name: str,
        *,
        url: pulumi.Input[str],
        address: pulumi.Input[str],
        before: pulumi.Input[Sequence[str]],
        dns: Literal["managed", "external"],
        droplet_ids: pulumi.Input[Sequence[pulumi.Input[str]]],
        old_is_asked_for: pulumi.Input[int],
        patience: int,
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        props = {"url": url, "address": address, "before": before, "dns": dns, "droplet_ids": droplet_ids}
        super().__init__(name, {**props, "old_is_asked_for": old_is_asked_for, "patience": patience}, opts)

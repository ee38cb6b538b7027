"""One release of the app: its code and its environment, brought to the Droplets."""

from dataclasses import dataclass
from typing import Any, NotRequired, TypedDict

import pulumi

from components.connection_pool import ConnectionPool
from components.database import Database, DatabaseEndpoint
from components.object_storage import ObjectStorage
from config.app import AppConfig
from contract.environment import DatabaseAddress, EnvironmentSpec, environment_document
from protocol.release import release_id
from provider.resources import Artifact, Environment, Rollout, Secret


@dataclass(frozen=True, kw_only=True, slots=True)
class ReleaseArgs:
    """The Django project, everything its environment is made of, and the Droplets that must serve it."""

    region: str
    domain: str
    app: AppConfig
    database: Database
    pool: ConnectionPool
    storage: ObjectStorage
    droplet_ids: list[pulumi.Output[str]]
    max_unavailable: int
    protect_secrets: bool


class _Content(TypedDict):
    """What a release is made of; the id alone for an earlier one."""

    release: pulumi.Input[str]
    artifact: NotRequired[pulumi.Input[str]]
    sha256: NotRequired[pulumi.Input[str]]
    environment: NotRequired[pulumi.Input[str]]


class Release(pulumi.ComponentResource):
    """Uploads artifact and environment, then waits until every Droplet reports the release healthy."""

    release: pulumi.Output[str]
    artifact: pulumi.Output[str]
    sha256: pulumi.Output[str]
    environment: pulumi.Output[str]
    superuser_password: pulumi.Output[str]

    def __init__(self, name: str, args: ReleaseArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("django-do:release:Release", name, None, opts)
        # The database remembers both: what was signed with the one, the account that has the other. So they are kept
        # as long as it is, whatever is rolled out.
        kept = pulumi.ResourceOptions(parent=self, protect=args.protect_secrets or None)
        secret_key = Secret(f"{name}-secret-key", length=50, opts=kept)
        superuser = Secret(f"{name}-superuser-password", length=24, opts=kept)
        releases = args.storage.releases_bucket
        if args.app.release is None:
            artifact = Artifact(
                f"{name}-artifact",
                bucket=releases,
                region=args.region,
                path=args.app.path,
                files=args.app.files,
                exclude=args.app.exclude,
                include=args.app.include,
                opts=pulumi.ResourceOptions(parent=self),
            )
            environment = Environment(
                f"{name}-environment",
                bucket=releases,
                region=args.region,
                document=self._document(args, secret_key.value, superuser.value),
                opts=pulumi.ResourceOptions(parent=self),
            )
            digests = pulumi.Output.all(artifact.sha256, environment.hash)
            content: _Content = {
                "release": digests.apply(lambda both: release_id(*both)),
                "artifact": artifact.key,
                "sha256": artifact.sha256,
                "environment": environment.key,
            }
        else:
            content = {"release": args.app.release}  # what it consists of is recorded in the bucket
        rollout = Rollout(
            f"{name}-rollout",
            releases_bucket=releases,
            state_bucket=args.storage.state_bucket,
            region=args.region,
            droplet_ids=args.droplet_ids,
            max_unavailable=args.max_unavailable,
            opts=pulumi.ResourceOptions(parent=self),
            **content,
        )

        self.release = rollout.release
        self.artifact = rollout.artifact
        self.sha256 = rollout.sha256
        self.environment = rollout.environment
        self.superuser_password = pulumi.Output.secret(superuser.value)
        self.register_outputs({"release": self.release})

    @staticmethod
    def _document(
        args: ReleaseArgs, secret_key: pulumi.Output[str], superuser_password: pulumi.Output[str]
    ) -> pulumi.Output[dict[str, Any]]:
        def endpoint(of: DatabaseEndpoint) -> pulumi.Output[dict[str, Any]]:
            return pulumi.Output.all(
                user=of.user, password=of.password, host=of.host, port=of.port, database=of.database
            )

        def address(values: dict[str, Any]) -> DatabaseAddress:
            # Numbers come from the engine as floats.
            return DatabaseAddress(**{**values, "port": int(values["port"])})

        def build(values: dict[str, Any]) -> dict[str, Any]:
            values["pool"], values["migrator"] = address(values["pool"]), address(values["migrator"])
            return environment_document(
                EnvironmentSpec(
                    domain=args.domain,
                    region=args.region,
                    wsgi=args.app.wsgi,
                    settings=args.app.settings,
                    python=args.app.python,
                    health_path=args.app.health.path,
                    health_status=args.app.health.status,
                    allow=args.app.allow,
                    env=args.app.env,
                    superuser=args.app.superuser,
                    **values,
                )
            )

        known = pulumi.Output.all(
            secrets={name: pulumi.Output.secret(value.get_secret_value()) for name, value in args.app.secrets.items()},
            pool=endpoint(args.pool.endpoint),
            migrator=endpoint(args.database.migrator),
            database_ca=args.database.ca,
            secret_key=secret_key,
            superuser_password=superuser_password,
            cdn_endpoint=args.storage.cdn_endpoint,
            media_bucket=args.storage.media_bucket,
            app_access_key=args.storage.app_key.access_key,
            app_secret_key=args.storage.app_key.secret_key,
        )
        return pulumi.Output.secret(known.apply(build))

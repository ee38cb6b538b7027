"""The four Spaces, who may use them, and the CDN in front of the public one."""

from dataclasses import dataclass
from typing import Self

import pulumi

from components import digitalocean
from config.storage import SpacesKeyConfig, StorageConfig


@dataclass(frozen=True, kw_only=True, slots=True)
class ScopedKey:
    """A Spaces key; both halves are used as inputs elsewhere."""

    access_key: pulumi.Input[str]
    secret_key: pulumi.Input[str]

    @classmethod
    def of(cls, settings: SpacesKeyConfig) -> Self:
        """Return a key that was made by hand, as secrets."""
        return cls(
            access_key=pulumi.Output.secret(settings.access_key.get_secret_value()),
            secret_key=pulumi.Output.secret(settings.secret_key.get_secret_value()),
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class ObjectStorageArgs:
    """Where the Spaces are, who may read static files from another origin, and what may be lost with the stack."""

    region: str
    settings: StorageConfig
    cors_origins: tuple[str, ...]
    protect_media: bool


class ObjectStorage(pulumi.ComponentResource):
    """Spaces for static files, media, releases and the Droplets' reports; scoped keys unless they are given."""

    assets_bucket: pulumi.Output[str]
    media_bucket: pulumi.Output[str]
    releases_bucket: pulumi.Output[str]
    state_bucket: pulumi.Output[str]
    buckets: dict[str, pulumi.Output[str]]  # all of them, by what they are for
    cdn_endpoint: pulumi.Output[str]
    agent_key: ScopedKey
    app_key: ScopedKey

    def __init__(self, name: str, args: ObjectStorageArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("django-do:object_storage:ObjectStorage", name, None, opts)

        def bucket(role: str, *, force_destroy: bool, protect: bool | None = None) -> digitalocean.SpacesBucket:
            return digitalocean.SpacesBucket(
                f"{name}-{role}",
                region=args.region,
                # Nobody lists a bucket; what is public in `assets` is public object by object.
                acl="private",
                force_destroy=force_destroy,
                # The provider only changes its state when a bucket's name changes, so that outputs would point at a
                # bucket that does not exist.
                opts=pulumi.ResourceOptions(parent=self, protect=protect, replace_on_changes=["name"]),
            )

        assets = bucket("assets", force_destroy=args.settings.force_destroy)
        media = bucket("media", force_destroy=args.settings.force_destroy, protect=args.protect_media or None)
        # Both can be made again from the code: never worth a failed destroy.
        releases = bucket("releases", force_destroy=True)
        state = bucket("state", force_destroy=True)

        digitalocean.SpacesBucketCorsConfiguration(
            f"{name}-assets-cors",
            bucket=assets.name,
            region=args.region,
            cors_rules=[
                digitalocean.SpacesBucketCorsConfigurationCorsRuleArgs(
                    allowed_origins=list(args.cors_origins),
                    allowed_methods=["GET", "HEAD"],
                    max_age_seconds=args.settings.cors.max_age,
                )
            ],
            # Deleted first: the rules are the bucket's, so a replacement's deletion would take the new ones away.
            opts=pulumi.ResourceOptions(parent=self, replace_on_changes=["bucket"], delete_before_replace=True),
        )
        cdn = digitalocean.Cdn(
            f"{name}-cdn",
            origin=assets.bucket_domain_name,
            ttl=args.settings.cdn.ttl,
            opts=pulumi.ResourceOptions(parent=self),
        )

        def key(role: str, *grants: tuple[digitalocean.SpacesBucket, str]) -> ScopedKey:
            made = digitalocean.SpacesKey(
                f"{name}-{role}-key",
                grants=[
                    digitalocean.SpacesKeyGrantArgs(bucket=granted.name, permission=permission)
                    for granted, permission in grants
                ],
                opts=pulumi.ResourceOptions(parent=self),
            )
            return ScopedKey(access_key=made.access_key, secret_key=made.secret_key)

        if (existing := args.settings.keys) is not None:
            self.agent_key, self.app_key = ScopedKey.of(existing.agent), ScopedKey.of(existing.app)
        else:
            self.agent_key = key("agent", (releases, "read"), (assets, "readwrite"), (state, "readwrite"))
            self.app_key = key("app", (media, "readwrite"))
        self.assets_bucket = assets.name
        self.media_bucket = media.name
        self.releases_bucket = releases.name
        self.state_bucket = state.name
        self.cdn_endpoint = cdn.endpoint
        self.buckets = {
            "assets": self.assets_bucket,
            "media": self.media_bucket,
            "releases": self.releases_bucket,
            "state": self.state_bucket,
        }
        self.register_outputs(
            {
                "assets_bucket": self.assets_bucket,
                "media_bucket": self.media_bucket,
                "releases_bucket": self.releases_bucket,
                "state_bucket": self.state_bucket,
                "cdn_endpoint": self.cdn_endpoint,
            }
        )

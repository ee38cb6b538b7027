"""The base of the providers that work on buckets; it loads the S3 client when it is asked for one."""

from abc import abstractmethod
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, ClassVar

from provider.actions import (
    ActionError,
    CreateResult,
    DiffResult,
    ReadResult,
    ResourceProvider,
    UpdateResult,
    differing,
    report,
)
from provider.uploads.archive import CONTENT_TYPE, Built

if TYPE_CHECKING:
    from provider.uploads.spaces_client import Spaces


class SpacesProvider(ResourceProvider):
    """A provider that works on buckets with the runner's keys."""

    def spaces(self, region: str) -> "Spaces":
        """Return the buckets of a region."""
        from provider.uploads.spaces_client import Spaces, credentials

        return Spaces(region, credentials())


class ImmutableObjectProvider(SpacesProvider):
    """Upload an object named by its content, if it isn't there yet; never delete one: a rollback may need it."""

    folder: ClassVar[str]  # the keys' first part
    digest: ClassVar[str]  # the input that says everything about the content

    def diff(self, _id: str, olds: dict[str, Any], news: dict[str, Any]) -> DiffResult:
        """Compare the digest: other inputs say where the content comes from."""
        replaces = differing(olds, news, ["bucket", "region"])
        return DiffResult(changes=bool(replaces or differing(olds, news, [self.digest])), replaces=replaces)

    def create(self, props: dict[str, Any]) -> CreateResult:
        """Upload the object."""
        return CreateResult(f"{props['bucket']}/{self.folder}", self.upload(props))

    def update(self, _id: str, _olds: dict[str, Any], news: dict[str, Any]) -> UpdateResult:
        """Upload the new object beside the old one."""
        return UpdateResult(self.upload(news))

    def read(self, id_: str, props: dict[str, Any]) -> ReadResult:
        """Find out whether the object is still there: the resource is gone when it isn't."""
        if self.spaces(props["region"]).exists(props["bucket"], props["key"]):
            return ReadResult(id_, props)
        return ReadResult(None, {})

    @abstractmethod
    def upload(self, props: dict[str, Any]) -> dict[str, Any]:
        """Upload the object unless it is there, and return the outputs."""


class ImmutableArchiveProvider(ImmutableObjectProvider):
    """Upload an archive of sources that the update has seen before."""

    digest = "sha256"
    sources: ClassVar[str]  # what it is made of, for the one who changes that meanwhile
    described: ClassVar[tuple[str, ...]] = ("bucket", "region", "sha256", "key")  # the outputs

    def upload(self, props: dict[str, Any]) -> dict[str, Any]:
        """Build and upload it unless it is there, and return what describes it."""
        spaces = self.spaces(props["region"])
        if not spaces.exists(props["bucket"], props["key"]):
            with self.built(props) as archive:
                if archive.sha256 != props["sha256"]:
                    raise ActionError(
                        f"{self.sources}: must not change during the update, had SHA-256 {props['sha256'][:8]} and has "
                        f"{archive.sha256[:8]}; run `pulumi up` again"
                    )
                report(f"uploading {props['key']}, {archive.size / 2**20:.1f} MiB")
                spaces.put(props["bucket"], props["key"], archive.file, CONTENT_TYPE)
        return {name: props[name] for name in self.described}

    @abstractmethod
    def built(self, props: dict[str, Any]) -> AbstractContextManager[Built]:
        """Build the archive."""

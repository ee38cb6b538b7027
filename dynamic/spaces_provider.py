"""The base of the providers that work on buckets; it loads the S3 client when it is asked for one."""

from typing import TYPE_CHECKING, Any

from pulumi.dynamic import Config, ConfigureRequest, ReadResult, ResourceProvider

if TYPE_CHECKING:
    from dynamic.spaces_client import Spaces


class SpacesProvider(ResourceProvider):
    """A provider that works on buckets with the runner's keys."""

    _config: Config | None = None

    def configure(self, req: ConfigureRequest) -> None:
        """Keep the configuration; keys are asked for when they are needed, since planning needs none."""
        self._config = req.config

    def spaces(self, region: str) -> "Spaces":
        """Return the buckets of a region."""
        from dynamic.spaces_client import Spaces, credentials

        return Spaces(region, credentials(self._config or Config({}, "")))

    def read_object(self, id_: str, props: dict[str, Any], key: str) -> ReadResult:
        """Refresh a resource that is one object: it is gone when the object is."""
        if self.spaces(props["region"]).exists(props["bucket"], key):
            return ReadResult(id_, props)
        return ReadResult(None, {})

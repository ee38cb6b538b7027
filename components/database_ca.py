"""The certificate authority of a database cluster, by which clients verify it."""

from importlib.metadata import version

import pulumi
import pulumi_digitalocean as digitalocean

_FUNCTION = "digitalocean:index/getDatabaseCa:getDatabaseCa"
_FAILED = f"invoke of {_FUNCTION} failed: "


def certificate(cluster: digitalocean.DatabaseCluster, parent: pulumi.Resource) -> pulumi.Output[str]:
    """Return the PEM of the authority that signs a cluster's certificate.

    The SDK's own function ends in a traceback beside the API's words; here they are the error.
    """
    # Without the version the engine would start another provider than the cluster's.
    options = pulumi.InvokeOptions(parent=parent, version=version("pulumi-digitalocean"))

    async def ask(cluster_id: str) -> str:
        try:
            found = await pulumi.runtime.invoke_async(_FUNCTION, {"clusterId": cluster_id}, options)
        except Exception as error:
            if not str(error).startswith(_FAILED):  # the SDK has no class for what a provider refuses
                raise
            raise pulumi.RunError(_unanswered(cluster_id, str(error).removeprefix(_FAILED))) from None
        if not (pem := found["certificate"]):
            raise pulumi.RunError(_unanswered(cluster_id, "the answer has an empty certificate"))
        return str(pem)

    return cluster.id.apply(ask)


def _unanswered(cluster_id: str, why: str) -> str:
    words = why.removeprefix(f"invocation of {_FUNCTION} returned an error: ").removeprefix(f"{_FUNCTION}: ")
    return (
        f"database cluster {cluster_id}: its authority (CA), by which clients verify it, can't be fetched: {words}; "
        "run the command again, what was made is kept; if it fails again, see https://status.digitalocean.com"
    )

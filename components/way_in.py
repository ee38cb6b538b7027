"""What visitors come by: the Droplet's own address, or a load balancer before several."""

from components.existing import Existing
from components.load_balancer import LoadBalancer, LoadBalancerArgs
from components.network import Network
from components.object_storage import ObjectStorage
from components.public_name import PublicName
from components.reserved_address import ReservedAddress, ReservedAddressArgs
from config.stack import StackConfig

WayIn = ReservedAddress | LoadBalancer


def way_in(
    config: StackConfig, network: Network, storage: ObjectStorage, public_name: PublicName, existing: Existing
) -> WayIn:
    """Make what the settings say."""
    # An address that others have written down, in a zone that we don't manage, must not be lost.
    protect = config.protect and config.dns == "external"
    if not config.web.load_balancer:
        reserved = ReservedAddressArgs(region=config.region, storage=storage, existing=existing, protect=protect)
        return ReservedAddress(config.name, reserved)
    args = LoadBalancerArgs(
        region=config.region,
        domain=config.domain,
        network=network,
        storage=storage,
        public_name=public_name,
        certificate=config.web.certificate,
        protect_address=protect,
    )
    return LoadBalancer(config.name, args)

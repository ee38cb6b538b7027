"""DigitalOcean's products, one file each: routes, model, calls of the realiser."""

from sandbox.api.products import (
    account,
    actions,
    cdn,
    database_contents,
    database_firewalls,
    database_plans,
    database_pools,
    database_storage,
    databases,
    domains,
    droplets,
    firewalls,
    monitoring,
    reserved_ips,
    spaces_keys,
    ssh_keys,
    tags,
    vpcs,
)

ROUTERS = tuple(
    module.router
    for module in (
        account,
        actions,
        vpcs,
        tags,
        ssh_keys,
        droplets,
        database_plans,
        databases,
        database_storage,
        database_contents,
        database_firewalls,
        database_pools,
        spaces_keys,
        cdn,
        firewalls,
        monitoring,
        reserved_ips,
        domains,
    )
)

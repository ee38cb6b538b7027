"""The pack as the engine runs it: every rule, mandatory."""

from collections.abc import Mapping
from typing import Any

from pulumi_policy import (
    EnforcementLevel,
    Policy,
    PolicyResource,
    ReportViolation,
    ResourceValidationArgs,
    ResourceValidationPolicy,
    StackValidationArgs,
    StackValidationPolicy,
)

from policy import database, network, production, storage, user_data
from policy.resources import UNKNOWN, Resource, Stack, plain
from policy.rule import ResourceRule, Rule, StackRule, message

NAME = "django-do"
RULES: tuple[Rule, ...] = (
    *storage.RULES,
    *database.RULES,
    *network.RULES,
    *user_data.RULES,
    *production.RULES,
)

# What the program asked for, by URN. At the end the engine tells outputs only, and not every one has its input there:
# user data becomes a hash, an environment's document goes. An operation has a process of its own, so nothing gets old.
Inputs = dict[str, Mapping[str, Any]]


def policies(rules: tuple[Rule, ...] = RULES) -> list[Policy]:
    """Return the rules as policies of the SDK, which share what they see."""
    inputs: Inputs = {}
    return [
        _for_resources(rule, inputs) if isinstance(rule, ResourceRule) else _for_stack(rule, inputs) for rule in rules
    ]


def kind_of(token: str) -> str:
    """Return the last part of a type token such as digitalocean:index/droplet:Droplet."""
    return token.rpartition(":")[2]


def _for_resources(rule: ResourceRule, inputs: Inputs) -> Policy:
    def validate(args: ResourceValidationArgs, report: ReportViolation) -> None:
        if args.urn not in inputs:
            inputs[args.urn] = plain(args.props)
        resource = Resource(urn=args.urn, kind=kind_of(args.resource_type), name=args.name, properties=inputs[args.urn])
        if resource.kind in rule.kinds:
            for problem in rule.check(resource):
                report(message(rule, resource, problem), None)

    return ResourceValidationPolicy(
        rule.name, rule.why, validate, EnforcementLevel.MANDATORY, remediation_steps=rule.fix
    )


def _for_stack(rule: StackRule, inputs: Inputs) -> Policy:
    def validate(args: StackValidationArgs, report: ReportViolation) -> None:
        stack = Stack(resources=tuple(_resource(found, inputs) for found in args.resources))
        if rule.production and not stack.production:
            return
        for resource, problem in rule.check(stack):
            report(message(rule, resource, problem), resource.urn if resource else None)

    return StackValidationPolicy(rule.name, rule.why, validate, EnforcementLevel.MANDATORY, remediation_steps=rule.fix)


def _resource(found: PolicyResource, inputs: Inputs) -> Resource:
    """Put together what the engine says at the end and what the program asked for, which counts where both speak."""
    outputs = plain(found.props)
    asked = {name: value for name, value in inputs.get(found.urn, {}).items() if value is not UNKNOWN}
    return Resource(
        urn=found.urn,
        kind=kind_of(found.resource_type),
        name=found.name,
        properties={**outputs, **asked},
        protect=bool(found.opts.protect),
        secret_outputs=tuple(found.opts.additional_secret_outputs),
        uses={name: tuple(used.urn for used in of) for name, of in found.property_dependencies.items()},
    )

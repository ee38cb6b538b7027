"""The common part of Pulumi provider plugins in Python."""

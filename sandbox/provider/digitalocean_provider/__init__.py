"""Pulumi's DigitalOcean provider for the sandbox, where the official plugin can't be downloaded."""

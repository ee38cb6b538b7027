"""Spaces: Ceph in a full world, moto at depth `api`."""

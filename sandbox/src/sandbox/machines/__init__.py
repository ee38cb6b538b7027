"""Machines of a full world: images, limits and what they start with."""

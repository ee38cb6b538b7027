"""The network of a full world."""

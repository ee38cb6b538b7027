"""The parts that are real: Spaces, databases, the front, DNS, metadata and Let's Encrypt."""

"""The folder of a world with its processes, ports, locks and certificates."""

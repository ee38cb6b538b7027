"""The door to DigitalOcean's host names."""

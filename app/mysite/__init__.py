"""The project: settings, health, security headers, private media."""

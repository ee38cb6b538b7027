"""The app's registration with Django."""

from django.apps import AppConfig


class PollsConfig(AppConfig):
    """Polls."""

    name = "polls"
    verbose_name = "Polls"

"""The stack's settings: sections, the rules between them, and the only reader of pulumi.Config."""

from pathlib import Path

NAMESPACE = "django-do"
ROOT = Path(__file__).resolve().parent.parent

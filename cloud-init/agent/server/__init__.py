"""What Gunicorn imports, in the app's own Python: nothing else is on its path from here."""

"""The app of a release: its steps, and the processes in which they run."""

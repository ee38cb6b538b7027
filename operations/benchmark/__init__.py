"""The experiment of DigitalOcean's pool tutorial, on a cluster of its own: what is made, measured, judged and shown."""

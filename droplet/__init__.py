"""What a Droplet is made of: its user data."""

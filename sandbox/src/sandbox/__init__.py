"""DigitalOcean on one machine, made of real parts."""

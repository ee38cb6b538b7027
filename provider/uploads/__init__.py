"""What the runner uploads to the Spaces for Droplets to read: releases, environments, the agent's package."""

"""What a world knows: resources, plans, addresses, the topology that follows, and the seam to what is real."""

"""What is asserted about products of DigitalOcean, where it fills a file of its own."""

"""Components of the stack: one noun, one file."""

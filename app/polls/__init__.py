"""Questions, their choices, and the votes for them."""

"""What there is at DigitalOcean, and what of it a stack needs: editions, plans and the budget, all of it pure."""

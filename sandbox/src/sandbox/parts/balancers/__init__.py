"""Load balancers: HAProxy, one for each."""

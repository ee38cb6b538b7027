"""The policy pack: what every stack must keep to, checked by the engine in `pulumi preview` and `pulumi up`."""

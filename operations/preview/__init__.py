"""What `pulumi preview` says, in plain words."""

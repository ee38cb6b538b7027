"""The project that is deployed: what its files say, and the rules that a preview holds it to."""

"""What a person types: `sandbox up`, `down`, `status` and the rest."""

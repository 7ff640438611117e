"""Real models: where they come from, how their files are read, and the activations that enter their layers."""

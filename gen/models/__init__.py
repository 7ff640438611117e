"""Real models: where they come from, how their files are read, what enters their layers."""

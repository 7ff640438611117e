"""Which format each layer of a real model gets: what it costs in cycles, and what it does to the model."""

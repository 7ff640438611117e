"""The cycle model: when everything in a program happens, derived from the design's documented timing."""

"""The table of figures: ``python -m gen.bench``."""

"""The bit-serial array: weights travel as terms, one term of each weight per cycle."""

"""The table-lookup array: sums of activations are looked up by bit planes of weights."""

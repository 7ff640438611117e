"""A small shell for parts with few cells: instructions one at a time, one unit for LOAD and STORE."""

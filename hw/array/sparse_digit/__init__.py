"""The output-stationary array that multiplies digit by digit and leaves out those that are zero."""

"""What comes with the package beside code."""

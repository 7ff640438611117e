"""The systolic array with decoders at its borders: operands of any format as exponents and integers."""

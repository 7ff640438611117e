"""The commands of ``gatemill``, one file each. Heavy imports stand inside functions: help is fast."""

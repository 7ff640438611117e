"""Boards: each file has a ``BOARD``, and is found by lying here."""

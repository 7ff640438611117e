"""The system on a board around an accelerator: link to the host, memory, board registers."""

"""What runs on the computer beside the board: the link, and the accelerator behind it."""

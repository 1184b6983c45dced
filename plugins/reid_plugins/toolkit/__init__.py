"""What plugins share, ours and other people's; there are no plugins in it."""

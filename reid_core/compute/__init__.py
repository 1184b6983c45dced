"""What a program computes on."""

"""What two images are compared by."""

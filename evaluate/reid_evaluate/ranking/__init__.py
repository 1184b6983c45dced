"""From distances to ranks, and from ranks to numbers."""

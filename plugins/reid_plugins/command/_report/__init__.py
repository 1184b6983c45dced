"""One HTML page about a run's evaluations, readable without server, network or scripts."""

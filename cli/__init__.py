"""The shell: the only place that parses, prints, reads the environment, the clock and chance."""

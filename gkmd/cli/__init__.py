"""The command line: daemons, their control, and the making of configurations."""

"""The shell around the machines: sockets, clock, effects, signals, configuration. The only asyncio."""

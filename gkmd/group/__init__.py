"""Groups as pure policy: who is admitted, which SAs live, when they are replaced. No wire types, no I/O, no
clock.
"""

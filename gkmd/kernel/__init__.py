"""The data plane: ESP in the kernel's XFRM, multicast membership, and twins of both for tests."""

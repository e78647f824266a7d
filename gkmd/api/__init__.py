"""The interface of the platform: requests, results and operations, one definition for all that speak it."""

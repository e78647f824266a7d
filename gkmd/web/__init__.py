"""The portal: pages and the REST API, a process of its own beside the daemon."""

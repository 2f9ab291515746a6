"""Assembly of configuration and host into a running system, and its supervision."""

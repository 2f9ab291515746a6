"""Wire formats: bytes to frozen dataclasses and back; one error type."""

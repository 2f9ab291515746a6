"""Configuration: the schema, the YAML loader with positions, profiles."""

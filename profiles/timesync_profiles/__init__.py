"""Shipped profiles (YAML) and nothing else."""

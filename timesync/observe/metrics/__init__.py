"""The state as metrics for Prometheus: own names, and those of exporters that boards were made for."""

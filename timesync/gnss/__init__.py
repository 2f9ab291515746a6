"""Satellite receivers: what they say, which second a pulse marks, how far they can be believed. Pure."""

"""The web page and its interface: read-only, over HTTP, from the observer process."""

"""The thin asyncio runtime that performs the effects of the pure machines."""

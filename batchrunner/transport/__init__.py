"""HTTP: the only room that knows httpx and aiohttp."""

"""The asyncio-native Python SDK for Cyberun Cloud."""

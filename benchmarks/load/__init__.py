"""Many visitors of the app at once, by real WebSocket clients."""

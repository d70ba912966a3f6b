"""The calls, grouped as the API groups them: one request for each method, and for each page of a list."""

"""Bytes to and from storage: upload, download, resume, checksums, presigned URLs."""

"""Input and output files: what the rest of the package takes from here, and the public names among it."""

from cyberun_async._files.file_download import DownloadProgress
from cyberun_async._files.file_stream import FileStream
from cyberun_async._files.file_upload import UploadProgress
from cyberun_async._files.transfers import FileTransfers

__all__ = ["DownloadProgress", "FileStream", "FileTransfers", "UploadProgress"]

FileStream.__module__ = "cyberun_async"

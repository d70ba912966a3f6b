"""What takes several calls: following, waiting, submitting, paging, uploading, downloading."""

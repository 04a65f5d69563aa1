"""SUPERB for any upstream: s3prl's tasks on current packages."""

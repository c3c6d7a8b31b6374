"""Names, directories and files: what exists, who may touch it, and every change to it."""

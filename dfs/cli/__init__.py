"""The command lines `dfs` and `dfs-admin`: what a person types, and what they read back."""

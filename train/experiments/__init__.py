"""The experiments: their settings as TOML files, read, checked and changed."""

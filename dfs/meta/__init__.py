"""The NameNode's metadata database: its tables, its one writer, its journal."""

"""Settings: frozen sections with their defaults, and how they are read from `config.ini`."""

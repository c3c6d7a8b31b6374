"""The processes: composition roots that build every object by hand, and how they start and end."""

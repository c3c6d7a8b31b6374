"""High availability: one NameNode leads, others follow, voters say who; no answer is taken back."""

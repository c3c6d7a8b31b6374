"""High availability: one NameNode leads, others follow, voters say who; nothing acknowledged is lost."""

"""Who comes in and what they may do: permissions, passwords, users, groups, sessions, keys."""

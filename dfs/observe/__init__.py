"""What a daemon shows of itself: JSON log lines, metrics, the audit trail."""

"""What people do about GPU-hours. Each action is one transaction, keyword-only, with `by`, and leaves its audit row."""

"""What people do about people and places. Each action is one transaction, keyword-only, with `by`, and leaves its audit row."""

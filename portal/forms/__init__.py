"""What people type, checked, with a sentence at each field."""

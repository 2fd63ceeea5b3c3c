"""What people type about GPU-hours: checked, with a sentence at the field."""

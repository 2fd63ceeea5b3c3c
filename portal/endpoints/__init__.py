"""People and places for programs: the same sight and the same actions as the pages."""

"""The audit, for people: who did what to which thing, narrowed by anything in the address."""

"""The API of running things: jobs and their files, and what the centre asks of its clusters."""

"""Projects, hours, requests and usage for programs: the same sight and the same actions as the pages.

Amounts are integer GPU-seconds; days and months are UTC.
"""

"""What the ledger and the usage say, for people to read: one function per question, each a constant number of queries.

Nothing here writes. Amounts are integer GPU-seconds; months and days are UTC.
"""

"""A supercomputing centre in full swing, made up: 500 institutions, 2,000 projects, 20,000 people, 50,000 jobs.

It is laid around whatever places, people and things the database has already, and is the same each time (but for the
day, which is today). The institution, the lab, the project and the allocation that were there first become large ones.
"""

"""Small faults, put into a copy of the code one by one: which of them do the tests see?"""

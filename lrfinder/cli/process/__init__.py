"""The process of a command: its standard streams, signals, child processes and its end.

stdout          results on standard output, and everything else kept away from it
user_code       what surrounds the user's code while a command runs it
torch_import    importing torch so that a signal can't break it
children        child processes that end with the command
exit            the fast end after a signal
"""

"""The command line: `main`, the arguments that verbs share, and a module for each verb.

A verb reads its arguments, calls one public function and prints what comes of it. Nothing imports
this package; it may import every other one.
"""

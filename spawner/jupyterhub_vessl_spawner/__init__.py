"""The hands: show the form, ask the service for admission, start the admitted plan, report how it went.

One module for each backend with one pure renderer beside it.  Nothing here decides who may do what or what it costs.
"""

"""The series for upstream: mails, bug report, pull requests."""

"""The series rebased onto a release that it does not fit."""

"""Python imports this at its start: every process of upstream's tests begins offline."""

import offline

offline.begin()

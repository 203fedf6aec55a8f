"""The names of StackStorm's st2reactor that packs import, for where StackStorm is not installed."""

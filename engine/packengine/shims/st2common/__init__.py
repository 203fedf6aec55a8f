"""The names of StackStorm's st2common that packs import, for where StackStorm is not installed."""

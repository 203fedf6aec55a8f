"""The embedded engine: runs StackStorm packs on one machine, without StackStorm."""

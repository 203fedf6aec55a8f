"""The demonstration that `script/demo` runs inside the sandbox."""

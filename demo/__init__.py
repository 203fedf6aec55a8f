"""The main job, told and shown: what `script/demo` runs inside the sandbox."""

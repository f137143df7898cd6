"""Programs that the stress runs start."""

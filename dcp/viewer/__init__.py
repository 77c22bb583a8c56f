"""The linked view: one canvas for the app component and for static pages (payload, static)."""

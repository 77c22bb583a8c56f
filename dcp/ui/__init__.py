"""The app's machinery: settings, worker, session, widgets. The only streamlit in `dcp`."""

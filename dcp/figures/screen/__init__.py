"""Charts for the pages, by plotly. Pure: no page, no clock."""

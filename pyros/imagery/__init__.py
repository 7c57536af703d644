"""Every image that there is: an index of what FITS headers and the analyzer say, by place, night, filter and event."""

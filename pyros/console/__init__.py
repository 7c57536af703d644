"""The console: web pages for the people of an observatory, live, and what programs ask over HTTP.

A process of its own (``twistd -n pyros-console``), which needs the extra [console]. It reads journals and archive
through `pyros.views`, and sends messages like any other program; STOP, hold and release need neither its database nor
JavaScript. Only this package imports Django; it is imported when the console starts, and not before.
"""

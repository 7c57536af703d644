"""The checks that come with PYROS, a module a subject. Each check's docstring says what must hold."""

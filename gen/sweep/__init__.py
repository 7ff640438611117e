"""Design-space sweeps: points of a specification, evaluated once each, kept, and shown.

``spec`` says what is asked for, ``points`` what a point is, ``store`` keeps what came of it, ``engine`` has all of them
evaluated on an executor, ``explore`` chooses points, ``page`` shows them.
"""

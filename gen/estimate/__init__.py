"""What an accelerator takes of a part, and how fast it is there: measured by the tools, or at once from a fitted model.

``targets`` names what can be asked about, ``fpga`` and ``asic`` measure, ``fitted`` answers from measured points, ``request``
puts the answer together, ``page`` shows it.
"""

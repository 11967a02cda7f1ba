//! What runs are trained on: image sets with their palettes, and tables, from bytes on this machine.

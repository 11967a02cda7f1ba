//! Who holds which run, and until when.

//! director: to be written.

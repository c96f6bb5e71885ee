//! admin: to be written.

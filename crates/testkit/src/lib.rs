//! testkit: to be written.

//! control: to be written.

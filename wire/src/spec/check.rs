//! Range and cross-field checks that remember where each value stood.

use std::fmt::Display;

use crate::problem::FieldError;

/// Collects the errors of one spec; `normalize` hands it down with the place it is at.
#[derive(Debug)]
pub struct Checker {
    base: String,
    errors: Vec<FieldError>,
}

impl Checker {
    /// `base` is the pointer of the spec itself, such as `/spec`.
    pub fn new(base: &str) -> Self {
        Self { base: base.to_owned(), errors: Vec::new() }
    }

    /// An error at `pointer`, which is relative to the base and begins with `/`.
    pub fn error(&mut self, pointer: &str, detail: impl Into<String>) {
        self.errors.push(FieldError { pointer: format!("{}{pointer}", self.base), detail: detail.into() });
    }

    pub fn check(&mut self, holds: bool, pointer: &str, detail: impl FnOnce() -> String) {
        if !holds {
            self.error(pointer, detail());
        }
    }

    /// `least ≤ value ≤ most`.
    pub fn range<T: PartialOrd + Display>(&mut self, pointer: &str, value: T, least: T, most: T) {
        let inside = value >= least && value <= most;
        self.check(inside, pointer, || format!("must be from {least} to {most}, is {value}"));
    }

    /// A number over 0 and at most `most`.
    pub fn positive(&mut self, pointer: &str, value: f64, most: f64) {
        self.check(value > 0.0 && value <= most, pointer, || format!("must be greater than 0 and at most {most}, is {value}"));
    }

    /// `least ≤ value < below`.
    pub fn half_open(&mut self, pointer: &str, value: f64, least: f64, below: f64) {
        self.check(value >= least && value < below, pointer, || format!("must be at least {least} and less than {below}, is {value}"));
    }

    /// A setting that the choice made elsewhere does not have.
    pub fn absent<T>(&mut self, pointer: &str, value: &Option<T>, choice: &str) {
        self.check(value.is_none(), pointer, || format!("is not a setting of {choice}"));
    }

    /// A setting that the choice made elsewhere needs.
    pub fn present<T>(&mut self, pointer: &str, value: &Option<T>, choice: &str) {
        self.check(value.is_some(), pointer, || format!("is required by {choice}"));
    }

    pub fn finish(self) -> Result<(), Vec<FieldError>> {
        if self.errors.is_empty() { Ok(()) } else { Err(self.errors) }
    }
}

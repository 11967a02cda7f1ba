//! The language in which MLflow's clients search: conditions joined by AND, and what to sort by.
//!
//! ```text
//! metrics.loss < 0.5 AND params."model type" = 'unet' AND tags.topic LIKE 'rms%' AND attributes.status IN ('FINISHED', 'FAILED')
//! ```
//!
//! What a run does not have fulfils no condition but `IS NULL`. What the language has and Trainyard has not (datasets, OR, parentheses) is an
//! error that names it.

mod tokens;

use std::borrow::Cow;
use std::cmp::Ordering;

use serde::{Deserialize, Serialize};

use tokens::Tokens;

/// Longest filter, in bytes, and most conditions.
const LONGEST: usize = 10_000;
const MOST: usize = 100;

/// What a condition is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Field {
    Metric(String),
    Param(String),
    Tag(String),
    Attribute(Attribute),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Attribute {
    RunId,
    RunName,
    Status,
    StartTime,
    EndTime,
    ArtifactUri,
    UserId,
    ExperimentId,
    Name,
    CreationTime,
    LastUpdateTime,
}

impl Attribute {
    fn is_number(self) -> bool {
        matches!(self, Self::StartTime | Self::EndTime | Self::CreationTime | Self::LastUpdateTime)
    }
}

impl Field {
    fn is_number(&self) -> bool {
        match self {
            Self::Metric(_) => true,
            Self::Param(_) | Self::Tag(_) => false,
            Self::Attribute(attribute) => attribute.is_number(),
        }
    }
}

/// What is searched: it decides which fields there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Target {
    Runs,
    Experiments,
}

impl Target {
    fn attributes(self) -> &'static [(&'static str, Attribute)] {
        match self {
            Self::Runs => &[
                ("run_id", Attribute::RunId),
                ("run_name", Attribute::RunName),
                ("status", Attribute::Status),
                ("start_time", Attribute::StartTime),
                ("created", Attribute::StartTime),
                ("end_time", Attribute::EndTime),
                ("artifact_uri", Attribute::ArtifactUri),
                ("user_id", Attribute::UserId),
                ("experiment_id", Attribute::ExperimentId),
            ],
            Self::Experiments => &[
                ("name", Attribute::Name),
                ("creation_time", Attribute::CreationTime),
                ("last_update_time", Attribute::LastUpdateTime),
                ("experiment_id", Attribute::ExperimentId),
            ],
        }
    }

    fn attribute(self, name: &str) -> Result<Field, FilterError> {
        let found = self.attributes().iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
        found.map(|(_, attribute)| Field::Attribute(*attribute)).ok_or_else(|| {
            let known: Vec<&str> = self.attributes().iter().map(|(name, _)| *name).collect();
            error(format!("`{name}` is no attribute; there are {}", known.join(", ")))
        })
    }

    fn field(self, family: &str, key: String) -> Result<Field, FilterError> {
        match (family.to_ascii_lowercase().as_str(), self) {
            ("metric" | "metrics", Self::Runs) => Ok(Field::Metric(key)),
            ("param" | "params" | "parameter" | "parameters", Self::Runs) => Ok(Field::Param(key)),
            ("tag" | "tags", _) => Ok(Field::Tag(key)),
            ("attribute" | "attributes" | "attr" | "run", _) => self.attribute(&key),
            ("dataset" | "datasets", Self::Runs) => Err(error("runs here have no datasets to search by")),
            _ => Err(error(format!("`{family}` is no family of fields; there are metrics, params, tags and attributes"))),
        }
    }
}

/// Why a text is no filter.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(super) struct FilterError(String);

fn error(text: impl Into<String>) -> FilterError {
    FilterError(text.into())
}

/// What is asked of a field.
#[derive(Clone, Debug, PartialEq)]
enum Test {
    /// Of a number.
    Compare(Comparison, f64),
    Equals(String),
    Differs(String),
    Like(Vec<char>),
    /// Lower case.
    ILike(Vec<char>),
    In(Vec<String>),
    NotIn(Vec<String>),
    IsNull,
    IsNotNull,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Comparison {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

impl Comparison {
    fn holds(self, left: f64, right: f64) -> bool {
        match self {
            Self::Equal => left == right,
            Self::NotEqual => left != right,
            Self::Less => left < right,
            Self::LessOrEqual => left <= right,
            Self::Greater => left > right,
            Self::GreaterOrEqual => left >= right,
        }
    }
}

/// What is searched through: the values of its fields.
pub(super) trait Subject {
    /// Of a field that is a number.
    fn number(&self, field: &Field) -> Option<f64>;
    /// Of any other field.
    fn text(&self, field: &Field) -> Option<Cow<'_, str>>;
}

/// Conditions that all have to hold.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Filter {
    conditions: Vec<(Field, Test)>,
}

impl Filter {
    /// Reads a filter; an empty one lets everything through.
    pub(super) fn parse(text: &str, target: Target) -> Result<Self, FilterError> {
        let mut tokens = Tokens::new(text)?;
        let mut conditions = Vec::new();
        if tokens.at_end() {
            return Ok(Self::default());
        }
        loop {
            let field = tokens.field(target)?;
            let test = tokens.test(&field)?;
            conditions.push((field, test));
            if tokens.at_end() {
                return Ok(Self { conditions });
            }
            if !tokens.keyword("and") {
                return Err(error(format!("conditions are joined by AND, and here stands `{}`", tokens.rest())));
            }
            if conditions.len() >= MOST {
                return Err(error(format!("a filter has at most {MOST} conditions")));
            }
        }
    }

    pub(super) fn lets_through(&self, subject: &impl Subject) -> bool {
        self.conditions.iter().all(|(field, test)| test.holds(field, subject))
    }

    pub(super) fn fields(&self) -> impl Iterator<Item = &Field> {
        self.conditions.iter().map(|(field, _)| field)
    }
}

impl Test {
    fn holds(&self, field: &Field, subject: &impl Subject) -> bool {
        if let Self::Compare(comparison, value) = self {
            return subject.number(field).is_some_and(|found| comparison.holds(found, *value));
        }
        let text = match field.is_number() {
            true => subject.number(field).map(|number| Cow::Owned(number.to_string())),
            false => subject.text(field),
        };
        let Some(text) = text else { return matches!(self, Self::IsNull) };
        match self {
            Self::Equals(value) => text == value.as_str(),
            Self::Differs(value) => text != value.as_str(),
            Self::Like(pattern) => is_like(&text.chars().collect::<Vec<_>>(), pattern),
            Self::ILike(pattern) => is_like(&text.to_lowercase().chars().collect::<Vec<_>>(), pattern),
            Self::In(values) => values.iter().any(|value| text == value.as_str()),
            Self::NotIn(values) => values.iter().all(|value| text != value.as_str()),
            Self::IsNotNull => true,
            Self::IsNull | Self::Compare(..) => false,
        }
    }
}

/// Whether a text is like a pattern, in which `%` stands for any text and `_` for any character.
fn is_like(text: &[char], pattern: &[char]) -> bool {
    let (mut at, mut in_pattern) = (0, 0);
    // The last `%`, and where the text behind it was tried.
    let mut any: Option<(usize, usize)> = None;
    while at < text.len() {
        match pattern.get(in_pattern) {
            Some('%') => {
                any = Some((in_pattern, at));
                in_pattern += 1;
            }
            Some(character) if *character == '_' || *character == text[at] => {
                at += 1;
                in_pattern += 1;
            }
            _ => match any {
                Some((place, tried)) => {
                    any = Some((place, tried + 1));
                    (at, in_pattern) = (tried + 1, place + 1);
                }
                None => return false,
            },
        }
    }
    pattern[in_pattern..].iter().all(|character| *character == '%')
}

/// The order of an answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Order {
    by: Vec<(Field, bool)>,
}

impl Order {
    /// Reads what to sort by, one after the other; `last` decides where all that is equal, the largest first.
    pub(super) fn parse(texts: &[String], target: Target, last: Attribute) -> Result<Self, FilterError> {
        if texts.len() > MOST {
            return Err(error(format!("an answer is sorted by at most {MOST} fields")));
        }
        let mut by = Vec::with_capacity(texts.len() + 1);
        for text in texts {
            let mut tokens = Tokens::new(text)?;
            let field = tokens.field(target)?;
            let descends = tokens.keyword("desc");
            if !descends {
                tokens.keyword("asc");
            }
            if !tokens.at_end() {
                return Err(error(format!("a field to sort by is followed by ASC or DESC, and here stands `{}`", tokens.rest())));
            }
            by.push((field, descends));
        }
        let last = Field::Attribute(last);
        if !by.iter().any(|(field, _)| *field == last) {
            by.push((last, true));
        }
        Ok(Self { by })
    }

    pub(super) fn fields(&self) -> impl Iterator<Item = &Field> {
        self.by.iter().map(|(field, _)| field)
    }

    /// The place of something in this order.
    pub(super) fn keys(&self, subject: &impl Subject) -> Vec<Key> {
        let key = |field: &Field| match field.is_number() {
            true => {
                subject.number(field).map_or(Key::Missing, |number| if number.is_nan() { Key::Nan } else { Key::Number(Exact(number)) })
            }
            false => subject.text(field).map_or(Key::Missing, |text| Key::Text(text.into_owned())),
        };
        self.by.iter().map(|(field, _)| key(field)).collect()
    }

    /// NaN comes behind all numbers and what is missing behind that, whichever way is up.
    pub(super) fn compare(&self, one: &[Key], other: &[Key]) -> Ordering {
        let pairs = one.iter().zip(other).zip(&self.by);
        let mut orders = pairs.map(|((one, other), (_, descends))| one.compare(other, *descends));
        orders.find(|order| order.is_ne()).unwrap_or(Ordering::Equal)
    }
}

/// A value to sort by.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) enum Key {
    Number(Exact),
    Text(String),
    Nan,
    Missing,
}

/// A number whose bits survive JSON, infinities too.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(from = "u64", into = "u64")]
pub(super) struct Exact(f64);

impl From<u64> for Exact {
    fn from(bits: u64) -> Self {
        Self(f64::from_bits(bits))
    }
}

impl From<Exact> for u64 {
    fn from(exact: Exact) -> Self {
        exact.0.to_bits()
    }
}

impl Key {
    fn rank(&self) -> u8 {
        match self {
            Self::Number(_) | Self::Text(_) => 0,
            Self::Nan => 1,
            Self::Missing => 2,
        }
    }

    fn compare(&self, other: &Self, descends: bool) -> Ordering {
        let order = match (self, other) {
            (Self::Number(one), Self::Number(other)) => one.0.total_cmp(&other.0),
            (Self::Text(one), Self::Text(other)) => one.cmp(other),
            _ => return self.rank().cmp(&other.rank()),
        };
        if descends { order.reverse() } else { order }
    }
}

#[cfg(test)]
mod tests;

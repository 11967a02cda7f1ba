//! The points of a request, checked and ordered as the database takes them.

use std::collections::HashMap;

use trainyard_wire::external::{LONGEST_TAG_NAME, MOST_POINTS_OF_A_STEP};
use trainyard_wire::{Number, Timestamp};

use crate::db::logged::LoggedSeries;

/// Why a point cannot be stored.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PointsError {
    #[error("must have 1 to 250 characters")]
    Name,
    #[error("must be from 0 to 2^63 - 1")]
    Step,
    #[error("must be in the years 0 to 9999")]
    Time,
    #[error("is the {}th point of its name and step in one request", MOST_POINTS_OF_A_STEP + 1)]
    Crowded,
}

/// Points of metrics, in the order in which they were logged.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LoggedPoints {
    pub(super) series: Vec<LoggedSeries>,
    /// Of each name, in `series`.
    places: HashMap<String, usize>,
    /// The largest step of each.
    tops: HashMap<usize, u64>,
    /// Points at steps that were not the largest of their series.
    crowds: HashMap<(usize, u64), usize>,
}

impl LoggedPoints {
    /// Adds a point behind those of its name.
    ///
    /// # Errors
    /// Where it cannot be stored.
    pub fn add(&mut self, name: &str, step: i64, value: Number, time: Option<i64>) -> Result<(), PointsError> {
        let step = u64::try_from(step).map_err(|_| PointsError::Step)?;
        if time.is_some_and(|time| !(Timestamp::MIN.0..=Timestamp::MAX.0).contains(&time)) {
            return Err(PointsError::Time);
        }
        let index = match self.places.get(name) {
            Some(index) => *index,
            None => {
                if !(1..=LONGEST_TAG_NAME).contains(&name.chars().count()) {
                    return Err(PointsError::Name);
                }
                self.places.insert(name.to_owned(), self.series.len());
                self.series.push(LoggedSeries { name: name.to_owned(), ..LoggedSeries::default() });
                self.series.len() - 1
            }
        };
        let Some(series) = self.series.get_mut(index) else { return Err(PointsError::Name) };
        // A step beyond all others is new; only of the rest there may be several.
        let top = self.tops.entry(index).or_insert(0);
        if series.steps.is_empty() || step > *top {
            *top = step;
        } else {
            let others = self.crowds.entry((index, step)).or_insert(1);
            if *others >= MOST_POINTS_OF_A_STEP {
                return Err(PointsError::Crowded);
            }
            *others += 1;
        }
        series.steps.push(step);
        series.values.push(value);
        series.times.push(time);
        Ok(())
    }
}

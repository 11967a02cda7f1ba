//! The language in which MLflow's clients search: any text is a filter that can be asked, or an error in words.
#![no_main]

use std::borrow::Cow;
use std::cmp::Ordering;

use libfuzzer_sys::fuzz_target;

#[path = "../../server/src/http/mlflow/filter/mod.rs"]
#[allow(dead_code)]
mod filter;

use filter::{Attribute, Field, Filter, Order, Subject, Target};

/// A run in which the length of a name decides whether there is a value, and which.
struct Run(f64, &'static str);

impl Subject for Run {
    fn number(&self, field: &Field) -> Option<f64> {
        match field {
            Field::Metric(name) => (name.len() % 4 != 0).then_some(if name.len() % 4 == 1 { f64::NAN } else { self.0 }),
            Field::Attribute(attribute) => (*attribute != Attribute::EndTime).then_some(1_700_000_000_000.0),
            Field::Param(_) | Field::Tag(_) => None,
        }
    }

    fn text(&self, field: &Field) -> Option<Cow<'_, str>> {
        match field {
            Field::Param(name) | Field::Tag(name) => (name.len() % 4 != 0).then_some(self.1.into()),
            _ => Some("FINISHED".into()),
        }
    }
}

fuzz_target!(|text: &str| {
    let (one, other) = (Run(0.5, "Ünet's"), Run(-1.0, "aab"));
    for target in [Target::Runs, Target::Experiments] {
        match Filter::parse(text, target) {
            Ok(filter) => {
                let _ = (filter.lets_through(&one), filter.lets_through(&other), filter.fields().count());
            }
            Err(error) => assert!(!error.to_string().is_empty()),
        }
        let by: Vec<String> = text.split(';').map(str::to_owned).collect();
        let Ok(order) = Order::parse(&by, target, Attribute::StartTime) else { continue };
        let (one, other) = (order.keys(&one), order.keys(&other));
        assert_eq!(order.compare(&one, &one), Ordering::Equal);
        assert_eq!(order.compare(&one, &other), order.compare(&other, &one).reverse());
        // The place goes out in a page's token and comes back.
        let written = serde_json::to_string(&one).unwrap();
        assert_eq!(serde_json::from_str::<Vec<filter::Key>>(&written).unwrap(), one);
    }
});

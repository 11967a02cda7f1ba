use std::borrow::Cow;
use std::cmp::Ordering;

use proptest::prelude::*;

use super::*;

/// A run with one of everything.
struct Example;

impl Subject for Example {
    fn number(&self, field: &Field) -> Option<f64> {
        match field {
            Field::Metric(name) => match name.as_str() {
                "loss" => Some(0.5),
                "val/acc" => Some(0.9),
                "odd" => Some(f64::NAN),
                _ => None,
            },
            Field::Attribute(Attribute::StartTime) => Some(1_700_000_000_000.0),
            _ => None,
        }
    }

    fn text(&self, field: &Field) -> Option<Cow<'_, str>> {
        match field {
            Field::Param(name) => (name == "model type").then_some("UNet's".into()),
            Field::Tag(name) => (name == "mlflow.source.type").then_some("LOCAL".into()),
            Field::Attribute(Attribute::Status) => Some("FINISHED".into()),
            Field::Attribute(Attribute::RunId) => Some("17".into()),
            _ => None,
        }
    }
}

fn holds(filter: &str) -> bool {
    Filter::parse(filter, Target::Runs).unwrap_or_else(|error| panic!("{filter}: {error}")).lets_through(&Example)
}

#[test]
fn conditions_hold_or_do_not() {
    let table = [
        ("", true),
        ("metrics.loss < 1", true),
        ("metrics.loss<1 and metric.loss>=0.5", true),
        ("metrics.loss = .5 AND metrics.loss != 1e3", true),
        ("metrics.loss > 0.5", false),
        ("metrics.\"val/acc\" > 0.5", true),
        ("metrics.val/acc > 0.5", true),
        ("metrics.`val/acc` <= -0.5", false),
        ("metrics.missing != 1", false),
        ("metrics.missing IS NULL", true),
        ("metrics.odd > 0", false),
        ("metrics.odd IS NOT NULL", true),
        ("params.\"model type\" = 'UNet''s'", true),
        ("params.`model type` != 'UNet''s'", false),
        ("param.`model type` LIKE 'UN%_s'", true),
        ("parameters.`model type` LIKE 'un%'", false),
        ("params.`model type` ILIKE 'un%'", true),
        ("params.other = 'x'", false),
        ("params.other IS NULL", true),
        ("tags.mlflow.source.type = \"LOCAL\"", true),
        ("tag.mlflow.source.type LIKE '%'", true),
        ("attributes.status = 'FINISHED'", true),
        ("status IN ('FAILED', 'FINISHED')", true),
        ("attr.status NOT IN ('FAILED')", true),
        ("run.run_id in ('17')", true),
        ("start_time > 1699999999999 AND created < 1700000000001", true),
        ("end_time IS NULL", true),
        ("attribute.end_time < 5", false),
    ];
    for (filter, expected) in table {
        assert_eq!(holds(filter), expected, "{filter}");
    }
}

#[test]
fn what_is_no_filter_is_told_why() {
    for (filter, told) in [
        ("metrics.loss", "compared by"),
        ("metrics.loss < 'a'", "number"),
        ("metrics.loss LIKE 'a'", "compared by"),
        ("params.x > 'a'", "compared by"),
        ("params.x = 1", "quotes"),
        ("params.x = 'a", "not closed"),
        ("params.x = 'a' OR params.y = 'b'", "AND"),
        ("(params.x = 'a')", "expected"),
        ("dataset.name = 'x'", "datasets"),
        ("models.x = 'x'", "no family"),
        ("colour = 'x'", "no attribute"),
        ("status IN 'x'", "parentheses"),
        ("status IN ('x'", "parenthesis"),
        ("status NOT 'x'", "IN"),
        ("params. = 'a'", "name"),
        ("metrics.loss < 1 AND", "field"),
        (".x = 'a'", "family"),
    ] {
        let error = Filter::parse(filter, Target::Runs).expect_err(filter).to_string();
        assert!(error.contains(told), "{filter}: {error}");
    }
    assert!(Filter::parse("metrics.loss < 1", Target::Experiments).is_err());
    assert!(Filter::parse("name LIKE 'a%' AND tags.team = 'x'", Target::Experiments).is_ok());
}

#[test]
fn nan_and_what_is_missing_come_last_whichever_way_is_up() {
    let order = |text: &str| Order::parse(&[text.to_owned()], Target::Runs, Attribute::StartTime).unwrap();
    let (number, nan, missing) = (|value| vec![Key::Number(Exact(value))], vec![Key::Nan], vec![Key::Missing]);
    for (text, first, second) in [("metrics.loss ASC", 1.0, 2.0), ("metrics.loss DESC", 2.0, 1.0), ("metrics.loss", 1.0, 2.0)] {
        let order = order(text);
        assert_eq!(order.compare(&number(first), &number(second)), Ordering::Less, "{text}");
        assert_eq!(order.compare(&number(f64::INFINITY), &nan), Ordering::Less, "{text}");
        assert_eq!(order.compare(&nan, &missing), Ordering::Less, "{text}");
    }
    assert_eq!(order("start_time DESC").by.len(), 1);
    assert!(Order::parse(&["metrics.loss UP".to_owned()], Target::Runs, Attribute::StartTime).is_err());
    assert_eq!(order("metrics.loss").keys(&Example), [Key::Number(Exact(0.5)), Key::Number(Exact(1_700_000_000_000.0))]);
}

#[test]
fn a_key_survives_json_to_the_last_bit() {
    for key in [Key::Number(Exact(f64::NEG_INFINITY)), Key::Number(Exact(0.1)), Key::Text("ä".to_owned()), Key::Nan, Key::Missing] {
        assert_eq!(serde_json::from_str::<Key>(&serde_json::to_string(&key).unwrap()).unwrap(), key);
    }
}

/// LIKE by its definition.
fn is_like_by_recursion(text: &[char], pattern: &[char]) -> bool {
    match pattern.split_first() {
        None => text.is_empty(),
        Some(('%', rest)) => (0..=text.len()).any(|skipped| is_like_by_recursion(&text[skipped..], rest)),
        Some((character, rest)) => text
            .split_first()
            .is_some_and(|(first, others)| (*character == '_' || character == first) && is_like_by_recursion(others, rest)),
    }
}

proptest! {
    #[test]
    fn no_text_makes_it_panic(text in any::<String>()) {
        let _ = Filter::parse(&text, Target::Runs).map(|filter| filter.lets_through(&Example));
        let _ = Order::parse(&[text], Target::Experiments, Attribute::CreationTime);
    }

    #[test]
    fn no_text_of_the_languages_own_pieces_makes_it_panic(
        pieces in prop::collection::vec(prop::sample::select(vec![
            "metrics", "params", "tags", "attributes", ".", "loss", "\"", "'", "`", " ", "=", "!=", "<", ">=", "1", "-1e9", "AND", "IN", "NOT",
            "(", ")", ",", "LIKE", "%", "IS", "NULL", "ä", "status", "DESC",
        ]), 0..20),
    ) {
        let text = pieces.concat();
        let _ = Filter::parse(&text, Target::Runs).map(|filter| filter.lets_through(&Example));
        let _ = Order::parse(&[text], Target::Runs, Attribute::StartTime);
    }

    #[test]
    fn like_is_what_its_definition_says(text in "[ab]{0,8}", pattern in "[ab_%]{0,6}") {
        let (text, pattern): (Vec<char>, Vec<char>) = (text.chars().collect(), pattern.chars().collect());
        prop_assert_eq!(is_like(&text, &pattern), is_like_by_recursion(&text, &pattern));
    }

    #[test]
    fn a_quoted_text_is_read_as_it_was_written(text in any::<String>().prop_filter("short", |text| text.len() < 1000)) {
        let filter = format!("params.x = '{}'", text.replace('\'', "''"));
        let filter = Filter::parse(&filter, Target::Runs).unwrap();
        prop_assert_eq!(filter.conditions, vec![(Field::Param("x".to_owned()), Test::Equals(text))]);
    }
}

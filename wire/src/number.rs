//! Floating-point numbers that survive JSON.
//!
//! JSON has no NaN and no infinity; a diverging run has both. They travel as the strings `"NaN"`, `"Infinity"` and
//! `"-Infinity"`, every other value as a JSON number.

use std::fmt;

use serde::de::{self, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// An f64 whose JSON form also holds NaN and the infinities.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
pub struct Number(pub f64);

impl utoipa::PartialSchema for Number {
    fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::schema::Schema> {
        use utoipa::openapi::schema::{ObjectBuilder, OneOfBuilder, Type};
        OneOfBuilder::new()
            .item(ObjectBuilder::new().schema_type(Type::Number))
            .item(ObjectBuilder::new().schema_type(Type::String).enum_values(Some(["NaN", "Infinity", "-Infinity"])))
            .into()
    }
}

impl utoipa::ToSchema for Number {
    fn name() -> std::borrow::Cow<'static, str> {
        "Number".into()
    }
}

impl From<f64> for Number {
    fn from(value: f64) -> Self {
        Self(value)
    }
}

impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Serialize for Number {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.0.is_nan() {
            serializer.serialize_str("NaN")
        } else if self.0 == f64::INFINITY {
            serializer.serialize_str("Infinity")
        } else if self.0 == f64::NEG_INFINITY {
            serializer.serialize_str("-Infinity")
        } else {
            serializer.serialize_f64(self.0)
        }
    }
}

impl<'de> Deserialize<'de> for Number {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct NumberVisitor;

        impl Visitor<'_> for NumberVisitor {
            type Value = Number;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number, \"NaN\", \"Infinity\" or \"-Infinity\"")
            }

            fn visit_f64<E>(self, value: f64) -> Result<Number, E> {
                Ok(Number(value))
            }

            fn visit_i64<E>(self, value: i64) -> Result<Number, E> {
                Ok(Number(value as f64))
            }

            fn visit_u64<E>(self, value: u64) -> Result<Number, E> {
                Ok(Number(value as f64))
            }

            fn visit_str<E: de::Error>(self, value: &str) -> Result<Number, E> {
                match value {
                    "NaN" => Ok(Number(f64::NAN)),
                    "Infinity" => Ok(Number(f64::INFINITY)),
                    "-Infinity" => Ok(Number(f64::NEG_INFINITY)),
                    other => Err(E::invalid_value(de::Unexpected::Str(other), &self)),
                }
            }
        }

        deserializer.deserialize_any(NumberVisitor)
    }
}

impl Number {
    /// The number as in JSON, without quotation marks: the shortest text that reads back as the same number.
    pub fn exact(self) -> impl fmt::Display {
        struct Exact(f64);

        impl fmt::Display for Exact {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                match self.0 {
                    f64::INFINITY => f.write_str("Infinity"),
                    f64::NEG_INFINITY => f.write_str("-Infinity"),
                    value if value.is_nan() => f.write_str("NaN"),
                    value => write!(f, "{value:?}"),
                }
            }
        }

        Exact(self.0)
    }
}

/// A value in six significant digits, for people; `{value}` and JSON keep every digit.
pub fn brief(value: f64) -> String {
    let size = value.abs();
    if value == 0.0 || !value.is_finite() {
        value.to_string()
    } else if (1e-4..1e6).contains(&size) {
        let decimals = (5 - size.log10().floor() as i32).clamp(0, 9) as usize;
        let text = format!("{value:.decimals$}");
        if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
    } else {
        format!("{value:.4e}")
    }
}

#[cfg(test)]
mod tests {
    use super::{Number, brief};

    #[test]
    fn numbers_have_six_significant_digits() {
        assert_eq!(brief(2.0 / 3.0), "0.666667");
        assert_eq!(brief(1.0672), "1.0672");
        assert_eq!(brief(123_456.0), "123456");
        assert_eq!(brief(100.0), "100");
        assert_eq!(brief(-1.5e-9), "-1.5000e-9");
        assert_eq!(brief(f64::NAN), "NaN");
        assert_eq!(brief(0.0), "0");
    }

    #[test]
    fn nan_and_the_infinities_survive_json() {
        let text = serde_json::to_string(&[f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 0.1].map(Number)).unwrap();
        assert_eq!(text, r#"["NaN","Infinity","-Infinity",0.1]"#);
        let back: Vec<Number> = serde_json::from_str(&text).unwrap();
        assert!(back[0].0.is_nan());
        assert_eq!(back[1..], [f64::INFINITY, f64::NEG_INFINITY, 0.1].map(Number));
    }

    #[test]
    fn the_exact_text_is_short_and_reads_back_as_the_same_number() {
        let exact = |value: f64| Number(value).exact().to_string();
        assert_eq!([exact(1e-300), exact(0.1), exact(f64::NEG_INFINITY), exact(f64::NAN)], ["1e-300", "0.1", "-Infinity", "NaN"]);
    }

    #[test]
    fn other_strings_are_refused() {
        assert!(serde_json::from_str::<Number>("\"nan\"").is_err());
    }
}

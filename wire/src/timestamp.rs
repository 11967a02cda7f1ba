//! Wall-clock times: milliseconds since the Unix epoch inside, RFC 3339 (UTC) in JSON.

use std::fmt;
use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// Milliseconds since 1970-01-01T00:00:00Z.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Timestamp(pub i64);

impl Timestamp {
    /// The first that RFC 3339 can write: the beginning of the year 0.
    pub const MIN: Self = Self(-62_167_219_200_000);
    /// The last that RFC 3339 can write: the end of the year 9999.
    pub const MAX: Self = Self(253_402_300_799_999);

    /// The wall clock. Only for what people read: no deadline may depend on it.
    pub fn now() -> Self {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // What lies outside is written as the nearest time inside: one odd time must not make all that holds it unreadable.
        let nanoseconds = i128::from((*self).clamp(Self::MIN, Self::MAX).0) * 1_000_000;
        let text = OffsetDateTime::from_unix_timestamp_nanos(nanoseconds).ok().and_then(|at| at.format(&Rfc3339).ok());
        f.write_str(&text.ok_or(fmt::Error)?)
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let at = OffsetDateTime::parse(&text, &Rfc3339).map_err(de::Error::custom)?;
        i64::try_from(at.unix_timestamp_nanos() / 1_000_000).map(Self).map_err(de::Error::custom)
    }
}

impl utoipa::PartialSchema for Timestamp {
    fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::schema::Schema> {
        use utoipa::openapi::schema::{KnownFormat, ObjectBuilder, SchemaFormat, Type};
        ObjectBuilder::new().schema_type(Type::String).format(Some(SchemaFormat::KnownFormat(KnownFormat::DateTime))).into()
    }
}

impl utoipa::ToSchema for Timestamp {
    fn name() -> std::borrow::Cow<'static, str> {
        "Timestamp".into()
    }
}

#[cfg(test)]
mod tests {
    use super::Timestamp;

    #[test]
    fn a_time_is_rfc_3339_with_milliseconds_and_comes_back() {
        let text = serde_json::to_string(&Timestamp(1_700_000_000_123)).unwrap();
        assert_eq!(text, "\"2023-11-14T22:13:20.123Z\"");
        assert_eq!(serde_json::from_str::<Timestamp>(&text).unwrap(), Timestamp(1_700_000_000_123));
    }

    #[test]
    fn a_time_beyond_rfc_3339_is_written_as_the_nearest_that_is_not() {
        for (time, text) in [(i64::MAX, "9999-12-31T23:59:59.999Z"), (i64::MIN, "0000-01-01T00:00:00Z")] {
            assert_eq!(serde_json::to_string(&Timestamp(time)).unwrap(), format!("\"{text}\""));
        }
        assert_eq!(serde_json::from_str::<Timestamp>("\"9999-12-31T23:59:59.999Z\"").unwrap(), Timestamp::MAX);
        assert_eq!(serde_json::from_str::<Timestamp>("\"0000-01-01T00:00:00Z\"").unwrap(), Timestamp::MIN);
    }
}

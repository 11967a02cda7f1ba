//! The states of a run: `queued → running → succeeded | failed | cancelled`, with `paused` between `queued` and `running`.

macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $word:literal),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, ::serde::Serialize, ::serde::Deserialize)]
        pub enum $name {
            $($(#[$variant_doc])* #[serde(rename = $word)] $variant),+
        }

        impl $name {
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The word of this value, as JSON and SQL hold it.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word),+ }
            }
        }

        // By hand: the derive does not see a rename whose word comes from a macro.
        impl ::utoipa::PartialSchema for $name {
            fn schema() -> ::utoipa::openapi::RefOr<::utoipa::openapi::schema::Schema> {
                use ::utoipa::openapi::schema::{ObjectBuilder, Type};
                ObjectBuilder::new().schema_type(Type::String).enum_values(Some([$($word),+])).into()
            }
        }

        impl ::utoipa::ToSchema for $name {
            fn name() -> ::std::borrow::Cow<'static, str> {
                stringify!($name).into()
            }
        }

        impl ::std::fmt::Display for $name {
            fn fmt(&self, f: &mut ::std::fmt::Formatter<'_>) -> ::std::fmt::Result {
                f.pad(self.as_str())
            }
        }

        impl ::std::str::FromStr for $name {
            type Err = $crate::state::UnknownWord;

            fn from_str(text: &str) -> Result<Self, $crate::state::UnknownWord> {
                match text {
                    $($word => Ok(Self::$variant),)+
                    other => Err($crate::state::UnknownWord { found: other.to_owned(), known: &[$($word),+] }),
                }
            }
        }
    };
}
pub(crate) use words;

/// A word that is none of the allowed ones.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{found}` is not one of {}", known.join(", "))]
pub struct UnknownWord {
    pub found: String,
    pub known: &'static [&'static str],
}

words!(
    /// Where a run is in its life.
    RunState {
        /// Waits for a worker.
        Queued = "queued",
        /// Held back until it is resumed; keeps its checkpoint.
        Paused = "paused",
        /// Leased to a worker.
        Running = "running",
        Succeeded = "succeeded",
        Failed = "failed",
        Cancelled = "cancelled",
    }
);

impl RunState {
    /// Whether nothing more happens to the run unless someone retries it.
    pub fn is_finished(self) -> bool {
        matches!(self, Self::Succeeded | Self::Failed | Self::Cancelled)
    }
}

words!(
    /// Why a run ended.
    StopReason {
        /// All steps or epochs were done.
        Completed = "completed",
        /// The gradient's norm fell to `gradient_tolerance`; the learning rate of a hypergradient run settled.
        Converged = "converged",
        /// The watched metric stopped improving (`early_stopping`).
        EarlyStopped = "early_stopped",
        /// The loss is NaN or infinite, or over 10⁸ times the first.
        Diverged = "diverged",
        /// Someone cancelled it.
        Cancelled = "cancelled",
        /// It asked for more memory than its worker allows, or took it.
        OutOfMemory = "out_of_memory",
        /// The trainer reported an error or panicked.
        Error = "error",
        /// Three attempts in a row were lost without a new checkpoint.
        AttemptsExhausted = "attempts_exhausted",
    }
);

words!(
    /// What a job trains.
    Kind {
        Regression = "regression",
        RegularizationPair = "regularization_pair",
        Hypergradient = "hypergradient",
        Colourization = "colourization",
        /// Nothing: a program outside of Trainyard logs to it.
        External = "external",
        /// Nothing: it colours a picture with the model of a colourization. Lists leave it out.
        Picture = "picture",
    }
);

#[cfg(test)]
mod tests {
    use super::{Kind, RunState, StopReason};

    #[test]
    fn the_word_in_json_is_the_word_in_sql() {
        for &state in RunState::ALL {
            assert_eq!(serde_json::to_string(&state).unwrap(), format!("\"{state}\""));
            assert_eq!(state.as_str().parse(), Ok(state));
        }
        for &reason in StopReason::ALL {
            assert_eq!(serde_json::to_string(&reason).unwrap(), format!("\"{reason}\""));
        }
        assert_eq!(
            "sleeping".parse::<Kind>().unwrap_err().to_string(),
            "`sleeping` is not one of regression, regularization_pair, hypergradient, colourization, external, picture"
        );
    }
}

//! The trainers: from a spec to a trained model, without knowing where metrics and files go.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use super::file::File;
use super::*;

const FILE: &str = r#"
url = "http://file"
token = "file-secret"
output = "json"

[profile.gpu-box]
url = "http://gpu-box"
token_file = "gpu.token"

[profile.bare]
"#;

fn settings(profile: Option<&str>, environment: &[(&str, &str)], file: &str) -> Result<Settings, SettingsError> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("config.toml");
    std::fs::write(&path, file).unwrap();
    Settings::from(profile, |name| {
        if name == "TRAINYARD_CONFIG" {
            return Some(path.clone().into());
        }
        environment.iter().find(|(variable, _)| *variable == name).map(|(_, value)| OsString::from(value))
    })
}

#[test]
fn a_flag_goes_before_the_environment_and_the_environment_before_the_file() {
    let from_file = settings(None, &[], FILE).unwrap();
    assert_eq!(from_file.url(None), Sourced { value: "http://file".to_owned(), source: Source::File });
    assert_eq!(from_file.output().value, OutputFormat::Json);
    let environment = settings(None, &[("TRAINYARD_URL", "http://environment"), ("TRAINYARD_OUTPUT", "text")], FILE).unwrap();
    assert_eq!(environment.url(None).source, Source::Environment("TRAINYARD_URL"));
    assert_eq!(environment.output().value, OutputFormat::Text);
    assert_eq!(environment.url(Some("http://flag")), Sourced { value: "http://flag".to_owned(), source: Source::Flag("--url") });
    let nothing = settings(None, &[("TRAINYARD_URL", "")], "").unwrap();
    assert_eq!(nothing.url(None), Sourced { value: DEFAULT_URL.to_owned(), source: Source::Default });
    assert_eq!(nothing.token(None, Some(" ")), None);
}

#[test]
fn a_token_of_a_higher_level_goes_before_a_token_file_of_a_lower_one() {
    let both = settings(None, &[("TRAINYARD_TOKEN", "secret\n")], "token_file = \"a\"\ntoken = \"b\"").unwrap();
    let found = both.token(None, None).unwrap();
    assert_eq!((found.value, found.source), (Token::Given(Secret("secret".to_owned())), Source::Environment("TRAINYARD_TOKEN")));
    let found = both.token(Some(Path::new("flag.token")), Some("other")).unwrap();
    assert_eq!((found.value, found.source), (Token::File("flag.token".into()), Source::Flag("--token-file")));
    let file = settings(None, &[("TRAINYARD_TOKEN_FILE", "t"), ("TRAINYARD_TOKEN", "s")], "").unwrap();
    assert_eq!(file.token(None, None).unwrap().source, Source::Environment("TRAINYARD_TOKEN_FILE"));
}

#[test]
fn a_profile_that_a_flag_names_goes_before_the_environment_and_another_after_it() {
    let environment = [("TRAINYARD_URL", "http://environment")];
    let flag = settings(Some("gpu-box"), &environment, FILE).unwrap();
    assert_eq!(flag.url(None), Sourced { value: "http://gpu-box".to_owned(), source: Source::Profile("gpu-box".to_owned()) });
    let chosen = settings(None, &[environment[0], ("TRAINYARD_PROFILE", "gpu-box")], FILE).unwrap();
    assert_eq!(chosen.url(None).source, Source::Environment("TRAINYARD_URL"));
    assert_eq!(chosen.token(None, None).unwrap().source, Source::Profile("gpu-box".to_owned()));
    let by_file = settings(None, &[], &format!("default_profile = \"gpu-box\"\n{FILE}")).unwrap();
    assert_eq!((by_file.url(None).value.as_str(), by_file.profile.unwrap().source), ("http://gpu-box", Source::File));
    // What a profile does not say, the rest of the file does.
    assert_eq!(settings(Some("bare"), &[], FILE).unwrap().url(None).value, "http://file");
    let error = settings(Some("none"), &[], FILE).unwrap_err().to_string();
    assert!(error.contains("no profile `none` (--profile)") && error.contains("bare, gpu-box"), "{error}");
}

#[test]
fn paths_are_from_the_files_folder_or_from_home() {
    let token = |text: &str| File::parse(text, Path::new("/etc/yard/config.toml"), Some(Path::new("/home/ada"))).unwrap().values.token;
    assert_eq!(token("token_file = \"a/b\""), Some(Token::File(PathBuf::from("/etc/yard/a/b"))));
    assert_eq!(token("token_file = \"~/b\""), Some(Token::File(PathBuf::from("/home/ada/b"))));
    assert_eq!(token("token_file = \"/b\""), Some(Token::File(PathBuf::from("/b"))));
}

#[test]
fn a_mistake_in_the_file_is_named_by_its_place_and_never_quoted() {
    for (text, place) in [
        ("url = \"http://x\"\ntoken = \"secret", "config.toml:2"),
        ("token = 12345", "`token`"),
        ("[profile.a]\ntoken = [\"secret\"]", "`profile.a.token`"),
        ("tokn = \"secret\"", "`tokn`"),
        ("output = \"secret\"", "`output`"),
        ("profile = \"secret\"", "`profile`"),
    ] {
        let error = settings(None, &[], text).unwrap_err().to_string();
        assert!(error.contains(place) && !error.contains("secret") && !error.contains("12345"), "{error}");
    }
}

#[test]
fn a_file_that_was_asked_for_must_be_there_and_the_users_own_need_not() {
    let folder = tempfile::tempdir().unwrap();
    let only = |name: &'static str, path: PathBuf| move |asked: &str| (asked == name).then(|| path.clone().into_os_string());
    let home = Settings::from(None, only("HOME", folder.path().to_owned())).unwrap();
    assert_eq!(home.path, Some(folder.path().join(".config/trainyard/config.toml")));
    assert!(!home.file_exists);
    let missing = Settings::from(None, only("TRAINYARD_CONFIG", folder.path().join("none.toml")));
    assert!(matches!(missing, Err(SettingsError::Read { .. })));
    assert_eq!(Settings::from(None, |_| None).unwrap().path, None);
}

#[test]
fn a_token_is_not_shown_by_debug() {
    assert!(!format!("{:?}", settings(None, &[], FILE).unwrap()).contains("file-secret"));
}

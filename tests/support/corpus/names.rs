//! Names and paths.

use std::collections::BTreeSet;

/// Files that a name might want to reach, beside the server's own.
const TARGETS: [&str; 8] = [
    "etc/passwd",
    "admin.token",
    "data/admin.token",
    "trainyard.db",
    "worker.token",
    "sessions.json",
    "proc/self/environ",
    "windows/win.ini",
];

/// Ways up. Each is put before the targets, once and several times.
const UPWARDS: [&str; 24] = [
    "../",
    "..\\",
    "..%2f",
    "..%5c",
    "%2e%2e/",
    "%2e%2e%2f",
    "%2E%2E%5C",
    ".%2e/",
    "%2e./",
    "%252e%252e%252f",
    "%25252e%25252e%25252f",
    "..%252f",
    "....//",
    "..;/",
    "..%00/",
    "..%0d/",
    "..%09/",
    "%c0%ae%c0%ae%c0%af",
    "%e0%80%ae%e0%80%ae/",
    "%u002e%u002e%u2215",
    "\u{ff0e}\u{ff0e}\u{ff0f}",
    "\u{2025}/",
    "./../",
    "x/../../",
];

/// Absolute beginnings.
const ROOTS: [&str; 12] = ["/", "//", "///", "\\", "\\\\server\\share\\", "C:\\", "C:/", "c:", "file:///", "%2f", "%5c%5c?%5cC:%5c", "~/"];

/// Names that are trouble as they stand.
const ALONE: [&str; 48] = [
    "",
    ".",
    "..",
    "...",
    "/",
    "\\",
    " ",
    "a/",
    "/a",
    "a//b",
    "./a",
    "a/.",
    "a/..",
    "a b",
    "a\tb",
    "a\nb",
    "a\rb",
    "a\0",
    "\0",
    "a\0.png",
    "a%00.png",
    "a\u{7f}",
    "a\u{85}",
    "\u{202e}gpj.exe",
    "a\u{200b}b",
    "\u{feff}a",
    "ä",
    "İ",
    "ﬁ",
    "🦀",
    "a:b",
    "a.txt::$DATA",
    "a|b",
    "|id",
    ";id",
    "`id`",
    "$(id)",
    "$HOME",
    "%s%n",
    "*",
    "?",
    "<a>",
    "a\"b",
    "a'b",
    "a&b",
    "a=b",
    "a#b",
    "a?b",
];

/// Devices of Windows.
const DEVICES: [&str; 12] = ["CON", "PRN", "AUX", "NUL", "COM0", "COM1", "COM9", "LPT1", "LPT9", "con", "Nul", "lpt2"];

/// At least 500 names that no file of a run and no dataset may have.
pub fn hostile() -> Vec<String> {
    let mut names: BTreeSet<String> = ALONE.iter().map(|name| (*name).to_owned()).collect();
    for up in UPWARDS {
        for target in TARGETS {
            for times in [1, 8] {
                names.insert(format!("{}{target}", up.repeat(times)));
            }
        }
        names.insert(format!("samples/{up}model.safetensors"));
    }
    for root in ROOTS {
        for target in TARGETS {
            names.insert(format!("{root}{target}"));
        }
    }
    for device in DEVICES {
        for name in [device.to_owned(), format!("{device}.txt"), format!("samples/{device}.png"), format!("{device}./x")] {
            names.insert(name);
        }
    }
    for length in [201, 255, 256, 4096, 10_000] {
        names.insert("a".repeat(length));
        names.insert("a/".repeat(length / 2) + "a");
        names.insert("../".repeat(length / 3));
    }
    names.into_iter().collect()
}

/// `name` as one or several segments of a URL's path: every byte that could mean something written as `%xx`, slashes too.
pub fn encoded(name: &str) -> String {
    name.bytes().map(|byte| if byte.is_ascii_alphanumeric() { char::from(byte).to_string() } else { format!("%{byte:02X}") }).collect()
}

/// `name` as it stands, where it can stand in a request's first line at all: a client that does not resolve dots.
pub fn raw(name: &str) -> Option<String> {
    let fits = name.len() < 8000 && name.bytes().all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'#' | b'?'));
    fits.then(|| name.to_owned())
}

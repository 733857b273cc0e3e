//! Rules about Rust source: where unsafe lives, what libraries may not touch, how long things get.

use super::{Files, Findings, SourceFile};

/// The one home of unsafe code.
const UNSAFE_HOME: &str = "palisade-sys";
/// Crates that are programs, or serve tests: they may print, end the process and look at the environment.
const NOT_LIBRARIES: [&str; 4] = [
    "palisade",
    "palisade-guest",
    "palisade-test-support",
    "xtask",
];
/// What a library may not name, and why not.
const AMBIENT: [(&str, &str); 9] = [
    ("env::var", "only the binary reads the environment"),
    (
        "env::current_dir",
        "only the binary reads the current directory",
    ),
    ("env::home_dir", "only the binary reads the home folder"),
    ("env::args", "only the binary reads the command line"),
    ("env::temp_dir", "only the binary reads the environment"),
    ("std::process::exit", "only the binary ends the process"),
    ("println!", "only the binary prints"),
    ("eprintln!", "only the binary prints"),
    ("dbg!", "only the binary prints"),
];
/// Past this a file asks to be split; past the second it has to be.
const LONG_FILE: usize = 500;
const TOO_LONG_FILE: usize = 1000;
/// Past this a function asks to be split.
const LONG_FUNCTION: usize = 70;

/// Checks every Rust file.
pub(super) fn check(files: &Files, findings: &mut Findings) {
    for file in files.0.iter().filter(|file| file.path.ends_with(".rs")) {
        sizes(file, findings);
        if file.is_rust_source() {
            let code = code_only(&file.text);
            unsafe_code(file, &code, &mut findings.errors);
            ambient(file, &code, &mut findings.errors);
        }
    }
}

fn sizes(file: &SourceFile, findings: &mut Findings) {
    let lines = file.text.lines().count();
    if lines > TOO_LONG_FILE {
        findings
            .errors
            .push(format!("{}: {lines} lines", file.path));
    } else if lines > LONG_FILE {
        findings.notes.push(format!("{}: {lines} lines", file.path));
    }
    for (name, length) in long_functions(&file.text) {
        let path = &file.path;
        findings
            .notes
            .push(format!("{path}: function {name} has {length} lines"));
    }
}

fn unsafe_code(file: &SourceFile, code: &str, errors: &mut Vec<String>) {
    if file.krate() == UNSAFE_HOME {
        return;
    }
    let path = &file.path;
    if words(code).any(|word| word == "unsafe") {
        errors.push(format!("{path}: unsafe code lives in {UNSAFE_HOME} alone"));
    }
    let is_root = path.ends_with("src/lib.rs") || path.ends_with("src/main.rs");
    if is_root && !file.text.contains("#![forbid(unsafe_code)]") {
        errors.push(format!("{path}: #![forbid(unsafe_code)] is missing"));
    }
}

fn ambient(file: &SourceFile, code: &str, errors: &mut Vec<String>) {
    let is_test = file.path.contains("/tests/") || file.path.ends_with("/tests.rs");
    if is_test || NOT_LIBRARIES.contains(&file.krate()) {
        return;
    }
    let product = code.split("#[cfg(test)]").next().unwrap_or("");
    for (name, why) in AMBIENT {
        if product.contains(name) {
            errors.push(format!("{}: {name}: {why}", file.path));
        }
    }
}

fn words(code: &str) -> impl Iterator<Item = &str> {
    code.split(|c: char| !c.is_alphanumeric() && c != '_')
}

/// The text without comments and without what stands in string literals. Raw strings over several lines stay in;
/// a word found in one of those is worth a look.
fn code_only(text: &str) -> String {
    let line = |line: &str| {
        let mut out = String::new();
        let (mut quoted, mut escaped) = (false, false);
        let mut rest = line.chars().peekable();
        while let Some(c) = rest.next() {
            if !quoted && c == '/' && rest.peek() == Some(&'/') {
                break;
            }
            let ends = c == '"' && !escaped;
            escaped = quoted && c == '\\' && !escaped;
            if ends {
                quoted = !quoted;
            } else if !quoted {
                out.push(c);
            }
        }
        out
    };
    text.lines().map(line).collect::<Vec<_>>().join("\n")
}

/// Functions over the limit. rustfmt puts a function's closing brace in the column of its first word.
fn long_functions(text: &str) -> Vec<(String, usize)> {
    let mut long = Vec::new();
    let mut open: Option<(String, usize, usize)> = None;
    for (number, line) in text.lines().enumerate() {
        let indent = line.len() - line.trim_start().len();
        if let Some((name, from, column)) = &open {
            if indent == *column && line.trim_end() == format!("{}}}", " ".repeat(*column)) {
                let length = number - from + 1;
                if length > LONG_FUNCTION {
                    long.push((name.clone(), length));
                }
                open = None;
            }
        } else if let Some(name) = function_name(line) {
            open = Some((name, number, indent));
        }
    }
    long
}

fn function_name(line: &str) -> Option<String> {
    let mut words = line.split_whitespace();
    words.find(|word| *word == "fn")?;
    let starts = line.trim_start();
    let heads = ["fn ", "pub", "async ", "const ", "unsafe ", "extern "];
    if !heads.iter().any(|head| starts.starts_with(head)) || line.trim_end().ends_with([';', '}']) {
        return None;
    }
    let name = words.next()?;
    Some(name.split(['(', '<']).next().unwrap_or(name).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_and_strings_are_not_code() {
        let text = "let a = \"unsafe \\\" unsafe\"; // unsafe\nunsafe { b() }";
        let code = code_only(text);
        assert_eq!(words(&code).filter(|w| *w == "unsafe").count(), 1);
    }

    #[test]
    fn long_functions_are_named() {
        let body = "    call();\n".repeat(LONG_FUNCTION);
        let text =
            format!("pub fn long(\n    a: u8,\n) {{\n{body}}}\n\nfn short() {{\n    a();\n}}\n");
        assert_eq!(
            long_functions(&text),
            [("long".to_owned(), LONG_FUNCTION + 4)]
        );
    }
}

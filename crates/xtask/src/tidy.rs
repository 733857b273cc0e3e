//! `cargo xtask tidy`: what the project promises about its own source and no compiler checks.

mod imports;
mod source;
mod words;

use std::fs;
use std::path::{Path, PathBuf};

use crate::schema;
use crate::shell::{self, Done};

/// Pages that a reader of the project is promised.
const PAGES: [&str; 6] = [
    "README.md",
    "ARCHITECTURE.md",
    "SECURITY.md",
    "CONTRIBUTING.md",
    "CHANGELOG.md",
    "LICENSE",
];

/// What a check found.
#[derive(Debug, Default)]
pub(crate) struct Findings {
    /// These fail the run.
    pub(crate) errors: Vec<String>,
    /// These are shown: a file or function that asks to be split.
    pub(crate) notes: Vec<String>,
}

/// Runs each check and prints what it found.
pub(crate) fn run() -> Done {
    let root = shell::root();
    let files = Files::read(&root)?;
    let mut findings = Findings::default();
    imports::check(&root, &mut findings);
    source::check(&files, &mut findings);
    words::check(&files, &mut findings);
    for page in PAGES.iter().filter(|page| !root.join(page).is_file()) {
        findings.errors.push(format!("{page} is missing"));
    }
    if let Err(message) = schema::check() {
        findings.errors.push(message);
    }
    for note in &findings.notes {
        eprintln!("note: {note}");
    }
    match findings.errors.as_slice() {
        [] => {
            eprintln!("tidy: {} files, all as promised", files.0.len());
            Ok(())
        }
        errors => Err(format!("tidy:\n  {}", errors.join("\n  "))),
    }
}

/// Every text file of the checkout that is the project's own.
pub(crate) struct Files(pub(crate) Vec<SourceFile>);

/// One of them.
pub(crate) struct SourceFile {
    /// From the checkout's root, with slashes.
    pub(crate) path: String,
    /// Its text.
    pub(crate) text: String,
}

impl SourceFile {
    /// The crate it belongs to.
    pub(crate) fn krate(&self) -> &str {
        let mut parts = self.path.split('/');
        match parts.next() {
            Some("crates") => parts.next().unwrap_or(""),
            _ => "",
        }
    }

    /// Whether it is compiled into a product or a tool, and no test, bench or example.
    pub(crate) fn is_rust_source(&self) -> bool {
        self.path.ends_with(".rs") && self.path.contains("/src/")
    }
}

impl Files {
    fn read(root: &Path) -> Done<Self> {
        let mut files = Vec::new();
        collect(root, root, &mut files)?;
        files.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(Self(files))
    }
}

fn collect(root: &Path, folder: &Path, into: &mut Vec<SourceFile>) -> Done {
    const TEXT: [&str; 9] = [
        "rs", "md", "toml", "py", "sh", "json", "yml", "txt", "apparmor",
    ];
    let read = |path: &Path, error: std::io::Error| format!("read {}: {error}", path.display());
    let entries = fs::read_dir(folder).map_err(|error| read(folder, error))?;
    for entry in entries {
        let path: PathBuf = entry.map_err(|error| read(folder, error))?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let hidden = name.starts_with('.') && !matches!(&*name, ".ci" | ".config" | ".cargo");
        if hidden || name.starts_with("target") || name == "node_modules" {
            continue;
        }
        if path.is_dir() {
            collect(root, &path, into)?;
        } else if path
            .extension()
            .is_some_and(|e| TEXT.iter().any(|t| e == *t))
            || name == "run"
        {
            let text = fs::read_to_string(&path).map_err(|error| read(&path, error))?;
            let path = path.strip_prefix(root).unwrap_or(&path);
            let path = path.to_string_lossy().into_owned();
            into.push(SourceFile { path, text });
        }
    }
    Ok(())
}

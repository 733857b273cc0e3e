//! The difference of two texts, and what a file holds once some of its edits were chosen.

use std::ops::Range;
use std::time::{Duration, Instant};

use similar::{Algorithm, DiffOp, capture_diff_slices_deadline};

/// Lines shown around an edit, as `git diff` does.
pub const CONTEXT: u32 = 3;
/// How long the shortest difference of two texts is looked for. Ten times what 200,000 lines with 4,500 edits need; two
/// texts of 400,000 random lines would need hours.
const SEARCH: Duration = Duration::from_millis(700);
/// More are not compared: a line takes some 100 bytes while it is, and a file may hold nothing but line ends.
const MOST_LINES: usize = 1_000_000;

/// Two texts, line by line.
#[derive(Debug)]
pub struct TextDiff<'a> {
    before: Vec<&'a [u8]>,
    after: Vec<&'a [u8]>,
    edits: Vec<Edit>,
}

/// One run of lines that another run takes the place of: the smallest thing to choose.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Edit {
    before: Range<u32>,
    after: Range<u32>,
}

/// Edits that are shown together, since the lines around them touch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hunk {
    /// Which edits, by number.
    pub edits: Range<usize>,
    /// The lines of the old text, with those around the edits.
    pub before: Range<u32>,
    /// The same of the new text.
    pub after: Range<u32>,
}

/// What a line of a hunk is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LineKind {
    /// In both texts.
    Both,
    /// In the old one.
    Removed,
    /// In the new one.
    Added,
}

impl LineKind {
    /// How a patch marks it.
    pub fn mark(self) -> u8 {
        match self {
            Self::Both => b' ',
            Self::Removed => b'-',
            Self::Added => b'+',
        }
    }
}

/// How contents can be compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// By lines.
    Text,
    /// Not by lines: it holds a NUL. Git looks for one in the first 8,000 bytes; here one anywhere is enough.
    Binary,
    /// Not by lines: there are too many.
    Long,
}

impl Form {
    /// Of these contents.
    pub fn of(contents: &[u8]) -> Self {
        if memchr::memchr(0, contents).is_some() {
            Self::Binary
        } else if memchr::memchr_iter(b'\n', contents).count() > MOST_LINES {
            Self::Long
        } else {
            Self::Text
        }
    }

    /// Of two versions of a file.
    pub fn of_both(before: &[u8], after: &[u8]) -> Self {
        match (Self::of(before), Self::of(after)) {
            (Self::Binary, _) | (_, Self::Binary) => Self::Binary,
            (Self::Long, _) | (_, Self::Long) => Self::Long,
            (Self::Text, Self::Text) => Self::Text,
        }
    }
}

impl<'a> TextDiff<'a> {
    /// Compares. The result is right whatever the texts are; of texts made to be hard it may hold more lines than need be.
    pub fn new(before: &'a [u8], after: &'a [u8]) -> Self {
        let (before, after) = (lines(before), lines(after));
        let until = Some(Instant::now() + SEARCH);
        let found = capture_diff_slices_deadline(Algorithm::Myers, &before, &after, until);
        let mut edits: Vec<Edit> = Vec::new();
        for op in found
            .iter()
            .filter(|op| !matches!(op, DiffOp::Equal { .. }))
        {
            let narrow = |range: Range<usize>| range.start as u32..range.end as u32;
            let (old, new) = (narrow(op.old_range()), narrow(op.new_range()));
            match edits.last_mut() {
                // What is removed and what is added at one place are one edit.
                Some(last) if last.before.end == old.start && last.after.end == new.start => {
                    last.before.end = old.end;
                    last.after.end = new.end;
                }
                _ => edits.push(Edit {
                    before: old,
                    after: new,
                }),
            }
        }
        Self {
            before,
            after,
            edits,
        }
    }

    /// How many edits there are.
    pub fn edits(&self) -> usize {
        self.edits.len()
    }

    /// Lines added.
    pub fn added(&self) -> u64 {
        self.edits.iter().map(|e| u64::from(span(&e.after))).sum()
    }

    /// Lines removed.
    pub fn removed(&self) -> u64 {
        self.edits.iter().map(|e| u64::from(span(&e.before))).sum()
    }

    /// The edits as they are shown: those closer than twice the context are one hunk.
    pub fn hunks(&self) -> Vec<Hunk> {
        let mut hunks: Vec<Hunk> = Vec::new();
        for (number, edit) in self.edits.iter().enumerate() {
            let around = self.around(edit);
            match hunks.last_mut() {
                Some(last) if around.before.start <= last.before.end => {
                    last.edits.end = number + 1;
                    last.before.end = around.before.end;
                    last.after.end = around.after.end;
                }
                _ => hunks.push(Hunk {
                    edits: number..number + 1,
                    ..around
                }),
            }
        }
        hunks
    }

    /// The parts of a hunk, one for each edit; between two of them each line is shown once. One part if there is nothing
    /// to split.
    pub fn split(&self, hunk: &Hunk) -> Vec<Hunk> {
        let mut from = (hunk.before.start, hunk.after.start);
        hunk.edits
            .clone()
            .map(|number| {
                let edit = &self.edits[number];
                let last = number + 1 == hunk.edits.end;
                let next = self.edits.get(number + 1).filter(|_| !last);
                // The lines up to the next edit belong to both; shown with the first one.
                let to = next.map_or((hunk.before.end, hunk.after.end), |next| {
                    let between = (next.before.start - edit.before.end).min(CONTEXT);
                    (edit.before.end + between, edit.after.end + between)
                });
                let part = Hunk {
                    edits: number..number + 1,
                    before: from.0..to.0,
                    after: from.1..to.1,
                };
                from = to;
                part
            })
            .collect()
    }

    /// The lines of a hunk, in the order of a patch.
    pub fn lines(&self, hunk: &Hunk) -> Vec<(LineKind, &'a [u8])> {
        let mut lines = Vec::new();
        let mut at = hunk.before.start;
        let old =
            |range: Range<u32>, kind| slice(&self.before, range).iter().map(move |l| (kind, *l));
        for edit in &self.edits[hunk.edits.clone()] {
            lines.extend(old(at..edit.before.start, LineKind::Both));
            lines.extend(old(edit.before.clone(), LineKind::Removed));
            let new = slice(&self.after, edit.after.clone());
            lines.extend(new.iter().map(|line| (LineKind::Added, *line)));
            at = edit.before.end;
        }
        lines.extend(old(at..hunk.before.end, LineKind::Both));
        lines
    }

    /// The new lines, which nobody has seen yet, with their numbers from 1.
    pub fn new_lines(&self) -> impl Iterator<Item = (u32, &'a [u8])> + '_ {
        let numbers = self.edits.iter().flat_map(|edit| edit.after.clone());
        numbers.map(|number| (number + 1, self.after[number as usize]))
    }

    /// What the file holds if these edits are taken and the others are not.
    pub fn select(&self, taken: impl Fn(usize) -> bool) -> Vec<u8> {
        let mut out = Vec::new();
        let mut at = 0;
        let mut push = |lines: &[&[u8]]| lines.iter().for_each(|line| out.extend_from_slice(line));
        for (number, edit) in self.edits.iter().enumerate() {
            push(slice(&self.before, at..edit.before.start));
            if taken(number) {
                push(slice(&self.after, edit.after.clone()));
            } else {
                push(slice(&self.before, edit.before.clone()));
            }
            at = edit.before.end;
        }
        push(&self.before[at as usize..]);
        out
    }

    fn around(&self, edit: &Edit) -> Hunk {
        let widen = |range: &Range<u32>, lines: usize| {
            let end = range.end.saturating_add(CONTEXT);
            range.start.saturating_sub(CONTEXT)..end.min(lines as u32)
        };
        // Equal lines around an edit are as many in both texts: the shorter side rules at the beginning of a file.
        Hunk {
            edits: 0..0,
            before: widen(&edit.before, self.before.len()),
            after: widen(&edit.after, self.after.len()),
        }
    }
}

/// `@@ -1,3 +1,4 @@`.
pub fn hunk_header(hunk: &Hunk) -> String {
    format!("@@ -{} +{} @@", place(&hunk.before), place(&hunk.after))
}

/// Lines count from 1; an empty run is named by the line before it.
fn place(range: &Range<u32>) -> String {
    match span(range) {
        0 => format!("{},0", range.start),
        1 => format!("{}", range.start + 1),
        length => format!("{},{length}", range.start + 1),
    }
}

fn span(range: &Range<u32>) -> u32 {
    range.end - range.start
}

fn slice<'s, 'a>(lines: &'s [&'a [u8]], range: Range<u32>) -> &'s [&'a [u8]] {
    &lines[range.start as usize..range.end as usize]
}

/// Lines with their ends: a last line without one differs from the same line with one.
fn lines(text: &[u8]) -> Vec<&[u8]> {
    text.split_inclusive(|byte| *byte == b'\n').collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn text(hunk: &Hunk, diff: &TextDiff<'_>) -> String {
        let lines = diff.lines(hunk).into_iter();
        let lines = lines.map(|(kind, line)| {
            format!("{}{}", kind.mark() as char, String::from_utf8_lossy(line))
        });
        format!("{}\n{}", hunk_header(hunk), lines.collect::<String>())
    }

    #[test]
    fn edits_far_apart_are_hunks_of_their_own_and_near_ones_are_not() {
        let before: String = (1..=20).map(|n| format!("{n}\n")).collect();
        let near = before.replace("3\n", "x\n").replace("9\n", "y\n");
        let diff = TextDiff::new(b"1\n2\n3\n4\n", b"1\n2\n4\n");
        assert_eq!(
            text(&diff.hunks()[0], &diff),
            "@@ -1,4 +1,3 @@\n 1\n 2\n-3\n 4\n"
        );
        // 3, 9, 13 and 19.
        let diff = TextDiff::new(before.as_bytes(), near.as_bytes());
        assert_eq!(diff.hunks().len(), 1);
        let far = before.replace("\n2\n", "\nx\n").replace("18\n", "y\n");
        let diff = TextDiff::new(before.as_bytes(), far.as_bytes());
        let hunks = diff.hunks();
        assert_eq!(hunks.len(), 2);
        assert_eq!(hunk_header(&hunks[0]), "@@ -1,5 +1,5 @@");
        assert_eq!(hunk_header(&hunks[1]), "@@ -15,6 +15,6 @@");
        assert_eq!((diff.added(), diff.removed()), (2, 2));
    }

    #[test]
    fn new_and_emptied_files_have_the_places_git_gives_them() {
        let diff = TextDiff::new(b"", b"a\nb");
        assert_eq!(text(&diff.hunks()[0], &diff), "@@ -0,0 +1,2 @@\n+a\n+b");
        let diff = TextDiff::new(b"a\n", b"");
        assert_eq!(text(&diff.hunks()[0], &diff), "@@ -1 +0,0 @@\n-a\n");
        assert_eq!(TextDiff::new(b"", b"").edits(), 0);
    }

    #[test]
    fn what_has_no_lines_or_too_many_is_told_from_text() {
        assert_eq!(Form::of(b"a\xc3\xbc\xff\n"), Form::Text);
        assert_eq!(Form::of(b""), Form::Text);
        let mut late = vec![b'a'; 9000];
        late.push(0);
        assert_eq!(Form::of(&late), Form::Binary);
        let many = vec![b'\n'; MOST_LINES];
        assert_eq!(Form::of(&many), Form::Text);
        assert_eq!(Form::of(&[&many[..], b"\n"].concat()), Form::Long);
        assert_eq!(Form::of_both(b"a", b"\0"), Form::Binary);
    }

    #[test]
    fn a_hunk_splits_at_the_lines_between_its_edits() {
        let diff = TextDiff::new(b"1\n2\n3\n4\n5\n", b"1\nx\n3\ny\n5\n");
        let hunks = diff.hunks();
        let parts = diff.split(&hunks[0]);
        let parts: Vec<_> = parts.iter().map(|part| text(part, &diff)).collect();
        assert_eq!(
            parts,
            [
                "@@ -1,3 +1,3 @@\n 1\n-2\n+x\n 3\n",
                "@@ -4,2 +4,2 @@\n-4\n+y\n 5\n"
            ]
        );
    }

    fn some_text() -> impl Strategy<Value = Vec<u8>> {
        // Few different lines, so that the texts have much in common; and a last line that may lack its end.
        let line = prop::sample::select(vec!["a\n", "b\n", "c\n", "  {\n", "\n", "\r\n"]);
        let last = prop::sample::select(vec!["", "a", "end"]);
        (prop::collection::vec(line, 0..40), last)
            .prop_map(|(lines, last)| (lines.concat() + last).into_bytes())
    }

    proptest! {
        #[test]
        fn all_edits_give_the_new_text_and_none_the_old(before in some_text(), after in some_text()) {
            let diff = TextDiff::new(&before, &after);
            prop_assert_eq!(diff.select(|_| true), after.clone());
            prop_assert_eq!(diff.select(|_| false), before.clone());
            prop_assert_eq!(diff.edits() == 0, before == after);
        }

        #[test]
        fn any_choice_is_between(before in some_text(), after in some_text(), mask: u64) {
            let diff = TextDiff::new(&before, &after);
            let taken = |number: usize| mask >> (number % 64) & 1 == 1;
            let chosen = diff.select(taken);
            // What is left to take is what was not taken: choosing the rest arrives at the new text.
            let rest = TextDiff::new(&chosen, &after);
            prop_assert_eq!(rest.select(|_| true), after.clone());
            // Each edit adds and removes its own lines and no others.
            let length: i64 = diff.edits.iter().enumerate().filter(|(n, _)| taken(*n))
                .map(|(_, e)| i64::from(span(&e.after)) - i64::from(span(&e.before))).sum();
            let count = |text: &[u8]| lines(text).len() as i64;
            // A line without its end in the middle runs into the next one.
            let joined = chosen.len() == before.len() && chosen == before;
            prop_assert!(joined || (count(&chosen) - count(&before) - length).abs() <= 1);
        }

        #[test]
        fn hunks_hold_each_edit_once_and_their_lines_are_the_texts(before in some_text(), after in some_text()) {
            let diff = TextDiff::new(&before, &after);
            let hunks = diff.hunks();
            let parts: Vec<Hunk> = hunks.iter().flat_map(|hunk| diff.split(hunk)).collect();
            for shown in [&hunks, &parts] {
                let numbers: Vec<usize> = shown.iter().flat_map(|hunk| hunk.edits.clone()).collect();
                prop_assert_eq!(numbers, (0..diff.edits()).collect::<Vec<_>>());
                for hunk in shown {
                    let lines = diff.lines(hunk);
                    let of = |not: LineKind| lines.iter().filter(|(k, _)| *k != not).flat_map(|(_, l)| l.to_vec()).collect::<Vec<u8>>();
                    prop_assert_eq!(of(LineKind::Added), slice(&diff.before, hunk.before.clone()).concat());
                    prop_assert_eq!(of(LineKind::Removed), slice(&diff.after, hunk.after.clone()).concat());
                }
            }
        }
    }
}

//! The house stays as the crate documentation draws it: who may name whom, no circles, no file that
//! has grown too long.
//!
//! Limits: the sources are read as text. Found are paths that begin with `crate`, `self` or
//! `super`; what macros make is not.

mod matrix;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::{env, fs};

use self::matrix::{MATRIX, WORLD};

/// Lines of a file without its tests.
const LONGEST: usize = 400;

/// A source without its tests and comments.
struct Source {
    file: PathBuf,
    /// Its module, from the crate's root; empty for the root itself.
    module: Vec<String>,
    text: String,
}

impl Source {
    /// The room it belongs to: the finest that the matrix knows.
    fn room(&self) -> &str {
        let Some(top) = self.module.first() else {
            return self.file.file_stem().unwrap().to_str().unwrap();
        };
        let fine = self.module.get(1).map(|second| format!("{top}::{second}"));
        let known = |name: &str| MATRIX.iter().map(|(room, _)| *room).find(|room| *room == name);
        fine.and_then(|fine| known(&fine)).unwrap_or(top)
    }

    /// All that it names of the crate, as paths of at most two segments.
    fn named(&self) -> BTreeSet<Vec<String>> {
        let mut found = BTreeSet::new();
        for word in ["crate", "self", "super"] {
            for (at, _) in self.text.match_indices(&format!("{word}::")) {
                let before = self.text[..at].chars().next_back();
                if before.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == ':' || c == '$') {
                    continue;
                }
                let mut base = if word == "crate" { Vec::new() } else { self.module.clone() };
                let mut rest = &self.text[at..];
                while let Some(after) = rest.strip_prefix("super::") {
                    base.pop().expect("no path leaves the crate");
                    rest = after;
                }
                let rest = rest.trim_start_matches("crate::").trim_start_matches("self::");
                paths(rest, &base, &mut found);
            }
        }
        found
    }
}

/// Adds the paths that `text` begins with (`a::b`, `a::{b, c::D}`), below `base`; returns the rest.
fn paths<'a>(text: &'a str, base: &[String], found: &mut BTreeSet<Vec<String>>) -> &'a str {
    let text = text.trim_start();
    if let Some(mut rest) = text.strip_prefix('{') {
        loop {
            rest = paths(rest, base, found).trim_start();
            match rest.strip_prefix(',') {
                Some(after) if !after.trim_start().starts_with('}') => rest = after,
                Some(after) => return after.trim_start().trim_start_matches('}'),
                None => return rest.trim_start_matches('}'),
            }
        }
    }
    let end = text.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(text.len());
    let (name, rest) = text.split_at(end);
    let mut path = base.to_vec();
    if name == "self" {
        // `a::{self, b}` names a.
    } else if name.is_empty() {
        // `a::*` names what is in a, whatever it is.
        path.push("*".to_owned());
    } else {
        path.push(name.to_owned());
    }
    if let Some(after) = rest.strip_prefix("::") {
        return paths(after, &path, found);
    }
    path.truncate(2);
    found.insert(path);
    let renamed = rest.trim_start().strip_prefix("as ").map(str::trim_start);
    match renamed {
        Some(name) => name.trim_start_matches(|c: char| c.is_alphanumeric() || c == '_'),
        None => rest.trim_start_matches('*'),
    }
}

/// `text` without modules of tests and without comments that stand on a line of their own.
fn without_tests(text: &str) -> Vec<&str> {
    let mut kept = Vec::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        if line.trim() != "#[cfg(test)]" {
            kept.push(line);
            continue;
        }
        // The formatter closes an item where it begins.
        let indent = &line[..line.len() - line.trim_start().len()];
        let item = lines.by_ref().find(|line| !line.trim().starts_with("#[")).unwrap_or_default();
        if item.trim_end().ends_with('{') {
            lines.by_ref().find(|line| *line == format!("{indent}}}"));
        } else if !item.trim_end().ends_with(';') && !item.trim_end().ends_with('}') {
            panic!("what does the test's item `{item}` end with?");
        }
    }
    kept
}

fn src() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

/// Every source, and how many lines it has without its tests.
fn sources() -> Vec<(Source, usize)> {
    let mut found = Vec::new();
    let mut open = vec![src()];
    while let Some(directory) = open.pop() {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            let file = path.strip_prefix(src()).unwrap().to_owned();
            let stem = file.file_stem().unwrap().to_str().unwrap();
            if stem == "tests" {
                continue;
            }
            if path.is_dir() {
                open.push(path);
                continue;
            }
            let text = fs::read_to_string(&path).unwrap();
            let lines = without_tests(&text);
            let code = lines.iter().filter(|line| !line.trim_start().starts_with("//"));
            let text = code.copied().collect::<Vec<_>>().join("\n");
            let mut module: Vec<_> = file
                .parent()
                .into_iter()
                .flat_map(Path::iter)
                .map(|part| part.to_str().unwrap().to_owned())
                .collect();
            if stem != "mod" && !(module.is_empty() && ["lib", "main"].contains(&stem)) {
                module.push(stem.to_owned());
            }
            found.push((Source { file, module, text }, lines.len()));
        }
    }
    assert!(found.len() > 50, "the sources are not where they were");
    found.sort_by(|(a, _), (b, _)| a.file.cmp(&b.file));
    found
}

/// Whether `room` may name `path`.
fn may_name(room: &str, path: &[String]) -> bool {
    let own: Vec<&str> = room.split("::").collect();
    if path.iter().map(String::as_str).take(own.len()).eq(own) {
        return true;
    }
    let allowed = MATRIX.iter().find(|(name, _)| *name == room).map_or(&[][..], |(_, to)| *to);
    allowed.iter().any(|allowed| {
        let allowed: Vec<&str> = allowed.split("::").collect();
        path.iter().map(String::as_str).take(allowed.len()).eq(allowed)
    })
}

#[test]
fn every_room_names_only_what_the_matrix_allows() {
    let mut wrong = Vec::new();
    for (source, _) in sources() {
        let room = source.room();
        assert!(
            MATRIX.iter().any(|(name, _)| *name == room),
            "{}: the room {room} is not in the matrix: draw it there and in src/lib.rs",
            source.file.display()
        );
        let named = source.named().into_iter().filter(|path| !may_name(room, path));
        wrong
            .extend(named.map(|path| {
                format!("{}: {room} names {}", source.file.display(), path.join("::"))
            }));
    }
    assert!(wrong.is_empty(), "not in the matrix:\n{}", wrong.join("\n"));
}

#[test]
fn the_matrix_has_no_room_that_is_gone() {
    let sources = sources();
    let rooms: BTreeSet<_> = sources.iter().map(|(source, _)| source.room()).collect();
    let gone: Vec<_> = MATRIX.iter().filter(|(room, _)| !rooms.contains(room)).collect();
    assert!(gone.is_empty(), "{gone:?}");
}

#[test]
fn only_the_rooms_at_the_edge_name_the_crates_that_speak_to_the_world() {
    let mut wrong = Vec::new();
    for (source, _) in sources() {
        let room = source.room();
        for (library, allowed) in WORLD {
            let allowed =
                allowed.iter().any(|at| room == *at || room.starts_with(&format!("{at}::")));
            let words = source.text.split(|c: char| !c.is_alphanumeric() && c != '_' && c != ':');
            let named = words.into_iter().any(|word| word.split("::").next() == Some(*library));
            if named && !allowed {
                wrong.push(format!("{}: {room} names {library}", source.file.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn no_circle_leads_from_a_room_back_to_it() {
    let mut named: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (source, _) in sources() {
        // The root names every room and is named by none.
        let Some(from) = source.module.first() else { continue };
        let to = source.named().into_iter().filter_map(|path| path.into_iter().next());
        named.entry(from.clone()).or_default().extend(to.filter(|to| to != from));
    }
    // Whatever names nothing that is left can't be part of a circle.
    while let Some(room) = named
        .iter()
        .find(|(_, to)| !to.iter().any(|to| named.contains_key(to)))
        .map(|(room, _)| room.clone())
    {
        named.remove(&room);
    }
    assert!(named.is_empty(), "in a circle, or before one: {named:#?}");
}

#[test]
fn no_file_is_longer_than_it_can_be_read_at_once() {
    let long: Vec<_> = sources()
        .into_iter()
        .filter(|(_, lines)| *lines > LONGEST)
        .map(|(source, lines)| format!("{} has {lines} lines", source.file.display()))
        .collect();
    assert!(long.is_empty(), "more than {LONGEST} without tests: {long:?}");
}

#[test]
fn paths_are_found_in_groups_behind_super_and_within_lines() {
    let source = Source {
        file: "adapters/poll/look.rs".into(),
        module: ["adapters", "poll", "look"].map(str::to_owned).to_vec(),
        text: "use crate::{error::{Code, Error as E}, model, ports::*};\n\
               use super::super::docker::Engine;\nfn f() { super::state(); crate::plan::plan() }"
            .to_owned(),
    };
    let found: Vec<_> = source.named().iter().map(|path| path.join("::")).collect();
    let expected = [
        "adapters::docker",
        "adapters::poll",
        "error::Code",
        "error::Error",
        "model",
        "plan::plan",
        "ports::*",
    ];
    assert_eq!(found, expected);
    assert_eq!(source.room(), "adapters::poll");
    assert!(!may_name("adapters::poll", &["adapters".to_owned(), "docker".to_owned()]));
    assert!(!may_name("plan", &["ports".to_owned(), "Engine".to_owned()]));
}

#[test]
fn tests_are_left_out_and_what_follows_them_is_not() {
    let text = "a\n#[cfg(test)]\nmod tests {\n    fn t() {\n    }\n}\nb\n\
                #[cfg(test)]\npub(super) mod tests;\nc\n    #[cfg(test)]\n    fn d() {\n    }\ne";
    assert_eq!(without_tests(text), ["a", "b", "c", "e"]);
}

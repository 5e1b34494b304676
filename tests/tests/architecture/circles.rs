//! Circles in a graph of imports.

use super::imports::Import;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// Rooms that import each other.
#[derive(Debug, PartialEq)]
pub struct Circle {
    /// The shortest way from a room back to it.
    pub shortest: Vec<Import>,
    /// All rooms each of which can reach each other, those of the shortest way among them.
    pub rooms: Vec<String>,
}

impl fmt::Display for Circle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> = self.shortest.iter().map(|import| import.from.as_str()).collect();
        writeln!(f, "{} → {}", names.join(" → "), names[0])?;
        for Import { from, to, place } in &self.shortest {
            writeln!(f, "    {from} → {to}: {place}")?;
        }
        if self.rooms.len() > self.shortest.len() {
            writeln!(f, "    {} rooms import each other in this way: {}", self.rooms.len(), self.rooms.join(", "))?;
        }
        Ok(())
    }
}

/// Finds the circles: one for each set of rooms that import each other.
pub fn circles(imports: &[Import]) -> Vec<Circle> {
    let mut by_room: BTreeMap<&str, Vec<&Import>> = BTreeMap::new();
    for import in imports.iter().filter(|import| import.from != import.to) {
        by_room.entry(&import.from).or_default().push(import);
    }
    let (mut found, mut done) = (vec![], BTreeSet::new());
    for room in by_room.keys() {
        if done.contains(room) {
            continue;
        }
        let reached = reachable(&by_room, room);
        let together: Vec<&str> =
            reached.iter().copied().filter(|other| reachable(&by_room, other).contains(room)).collect();
        done.extend(together.iter().copied());
        let ways = together.iter().filter_map(|room| shortest_way_back(&by_room, room));
        if let Some(shortest) = ways.min_by_key(Vec::len) {
            found.push(Circle { shortest, rooms: together.iter().map(ToString::to_string).collect() });
        }
    }
    found
}

/// All rooms that a room reaches by one import or several.
fn reachable<'a>(by_room: &BTreeMap<&'a str, Vec<&'a Import>>, room: &'a str) -> BTreeSet<&'a str> {
    let (mut reached, mut open) = (BTreeSet::new(), vec![room]);
    while let Some(room) = open.pop() {
        for import in by_room.get(room).into_iter().flatten() {
            if reached.insert(import.to.as_str()) {
                open.push(&import.to);
            }
        }
    }
    reached
}

/// The imports of the shortest way from a room back to it, or None if there is no way back.
fn shortest_way_back(by_room: &BTreeMap<&str, Vec<&Import>>, room: &str) -> Option<Vec<Import>> {
    // All ways of one import, then all of two, and so on. Each room needs to be reached once.
    let (mut ways, mut reached) = (vec![vec![]], BTreeSet::new());
    while !ways.is_empty() {
        let mut longer: Vec<Vec<&Import>> = vec![];
        for way in ways {
            let end = way.last().map_or(room, |last: &&Import| last.to.as_str());
            for import in by_room.get(end).into_iter().flatten() {
                let way = [way.as_slice(), &[*import]].concat();
                if import.to == room {
                    return Some(way.into_iter().cloned().collect());
                }
                if reached.insert(&import.to) {
                    longer.push(way);
                }
            }
        }
        ways = longer;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn import(from: &str, to: &str) -> Import {
        Import { from: from.into(), to: to.into(), place: format!("{from}.rs:1") }
    }

    #[test]
    fn a_circle_is_found_with_the_place_of_each_import() {
        let imports = [import("a", "b"), import("b", "c"), import("c", "a"), import("c", "d"), import("e", "a")];
        let found = circles(&imports);
        assert_eq!(found.len(), 1, "{found:?}");
        let text = "a → b → c → a\n    a → b: a.rs:1\n    b → c: b.rs:1\n    c → a: c.rs:1\n";
        assert_eq!(found[0].to_string(), text);
    }

    #[test]
    fn the_shortest_circle_is_shown_and_all_rooms_of_the_knot_are_named() {
        let imports = [import("a", "b"), import("b", "c"), import("c", "a"), import("c", "b")];
        let found = circles(&imports);
        assert_eq!(found[0].shortest, [import("b", "c"), import("c", "b")]);
        assert!(found[0].to_string().ends_with("3 rooms import each other in this way: a, b, c\n"), "{}", found[0]);
    }

    #[test]
    fn rooms_that_do_not_import_each_other_make_no_circle() {
        let imports = [import("a", "b"), import("a", "c"), import("b", "d"), import("c", "d"), import("d", "d")];
        assert_eq!(circles(&imports), []);
    }

    #[test]
    fn two_circles_are_two() {
        let imports = [import("a", "b"), import("b", "a"), import("b", "x"), import("x", "y"), import("y", "x")];
        assert_eq!(circles(&imports).len(), 2);
    }
}

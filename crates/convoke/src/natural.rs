//! Names in the order in which people count: 2 before 10.
//!
//! What is named it does not know.

/// A name as text and numbers in turn: what names sort by. Names that count alike, such as 1 and 01, are equal.
pub fn natural(name: &str) -> Vec<(String, u128)> {
    let mut parts = Vec::new();
    let mut rest = name;
    while !rest.is_empty() {
        let text = rest.find(|c: char| c.is_ascii_digit()).unwrap_or(rest.len());
        let digits = rest[text..].find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len() - text);
        let number = rest[text..text + digits].parse().unwrap_or(u128::MAX);
        parts.push((rest[..text].to_owned(), number));
        rest = &rest[text + digits..];
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_sort_as_people_count() {
        let mut names = ["train_10", "train_9", "train_b", "train_1", "train_1b", "train_99999999999999999999"];
        names.sort_by_cached_key(|name| natural(name));
        assert_eq!(names, ["train_1", "train_1b", "train_9", "train_10", "train_99999999999999999999", "train_b"]);
    }
}

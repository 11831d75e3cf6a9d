//! Suggestions for mistyped names.

/// The known names that are similar to `name`, at most three, the most similar first.
pub fn near<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Vec<String> {
    let name = name.to_lowercase();
    let mut found: Vec<(usize, &str)> = known
        .into_iter()
        .filter_map(|candidate| {
            let lower = candidate.to_lowercase();
            let distance = distance(&name, &lower);
            // A name is similar if up to a third of its letters differ, or if one contains the
            // other.
            let part =
                name.chars().count() >= 3 && (lower.contains(&name) || name.contains(&lower));
            (part || distance * 3 <= name.chars().count().max(lower.chars().count()))
                .then_some((distance, candidate))
        })
        .collect();
    found.sort_unstable();
    found
        .into_iter()
        .take(3)
        .map(|(_, candidate)| candidate.to_owned())
        .collect()
}

/// The hint with the suggestions: `` did you mean `a` or `b`? ``
pub fn did_you_mean(near: &[String]) -> String {
    let quoted: Vec<String> = near.iter().map(|name| format!("`{name}`")).collect();
    format!("did you mean {}?", quoted.join(" or "))
}

/// The edit distance, with a swap of neighbours as one edit (optimal string alignment).
fn distance(a: &str, b: &str) -> usize {
    let a: Vec<char> = a.chars().collect();
    let b: Vec<char> = b.chars().collect();
    let mut rows = vec![vec![0; b.len() + 1]; a.len() + 1];
    for (i, row) in rows.iter_mut().enumerate() {
        row[0] = i;
    }
    for (j, cell) in rows[0].iter_mut().enumerate() {
        *cell = j;
    }
    for i in 1..=a.len() {
        for j in 1..=b.len() {
            let mut best = (rows[i - 1][j] + 1)
                .min(rows[i][j - 1] + 1)
                .min(rows[i - 1][j - 1] + usize::from(a[i - 1] != b[j - 1]));
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                best = best.min(rows[i - 2][j - 2] + 1);
            }
            rows[i][j] = best;
        }
    }
    rows[a.len()][b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn typing_mistakes_are_near_and_other_names_are_not() {
        let known = [
            "rust-tch-gpu",
            "rust-tch-cpu",
            "AzureML-acpt-pytorch-2.11",
            "minimal",
        ];
        for (name, expected) in [
            ("rust-thc-gpu", vec!["rust-tch-gpu", "rust-tch-cpu"]),
            ("Rust-Tch-GPU", vec!["rust-tch-gpu", "rust-tch-cpu"]),
            ("tch", vec!["rust-tch-cpu", "rust-tch-gpu"]),
            ("pytorch", vec!["AzureML-acpt-pytorch-2.11"]),
            ("sklearn", vec![]),
            ("", vec![]),
        ] {
            assert_eq!(near(name, known), expected, "{name}");
        }
    }

    #[test]
    fn distances() {
        for (a, b, expected) in [
            ("", "", 0),
            ("a", "", 1),
            ("ab", "ba", 1),
            ("kitten", "sitting", 3),
        ] {
            assert_eq!(distance(a, b), expected, "{a} {b}");
        }
    }
}

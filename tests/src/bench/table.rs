//! Figures as a table that a person reads.

use std::collections::BTreeMap;

/// What was measured, by candidate and figure: one value for each round.
#[derive(Debug, Default)]
pub(super) struct Rounds {
    values: BTreeMap<(&'static str, &'static str), Vec<f64>>,
}

impl Rounds {
    pub(super) fn add(&mut self, candidate: &'static str, figure: &'static str, value: f64) {
        self.values.entry((candidate, figure)).or_default().push(value);
    }

    /// The median over the rounds.
    pub(super) fn median(&self, candidate: &'static str, figure: &'static str) -> Option<f64> {
        median(self.values.get(&(candidate, figure))?.clone())
    }

    /// The median of the ratios to another candidate in the same round.
    pub(super) fn ratio(
        &self,
        candidate: &'static str,
        figure: &'static str,
        to: &'static str,
    ) -> Option<f64> {
        let (ours, theirs) = (self.values.get(&(candidate, figure))?, self.values.get(&(to, figure))?);
        median(ours.iter().zip(theirs).map(|(ours, theirs)| ours / theirs).collect())
    }

    /// A line for each candidate: each figure's median, and in brackets its ratio to the first candidate where that has
    /// the figure too.
    pub(super) fn table(&self, candidates: &[&'static str], figures: &[&'static str]) -> String {
        let mut lines = vec![vec![String::new()]];
        if let Some(head) = lines.first_mut() {
            head.extend(figures.iter().map(|figure| (*figure).to_owned()));
        }
        for &candidate in candidates {
            let mut line = vec![candidate.to_owned()];
            line.extend(
                figures.iter().map(|figure| self.cell(candidate, figure, candidates.first().copied())),
            );
            lines.push(line);
        }
        aligned(&lines)
    }

    fn cell(&self, candidate: &'static str, figure: &'static str, first: Option<&'static str>) -> String {
        let Some(value) = self.median(candidate, figure) else { return "-".to_owned() };
        let ratio = first.filter(|first| *first != candidate);
        let ratio = ratio.and_then(|first| self.ratio(candidate, figure, first));
        ratio.map_or_else(|| short(value), |ratio| format!("{} ({ratio:.2}x)", short(value)))
    }
}

fn median(mut values: Vec<f64>) -> Option<f64> {
    values.retain(|value| value.is_finite());
    values.sort_unstable_by(f64::total_cmp);
    values.get(values.len() / 2).copied()
}

fn short(value: f64) -> String {
    if value >= 100.0 { format!("{value:.0}") } else { format!("{value:.1}") }
}

/// Columns under each other, two spaces apart.
fn aligned(lines: &[Vec<String>]) -> String {
    let columns = lines.iter().map(Vec::len).max().unwrap_or_default();
    let width = |column: usize| {
        lines
            .iter()
            .filter_map(|line| line.get(column))
            .map(|cell| cell.chars().count())
            .max()
            .unwrap_or_default()
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let line = |cells: &Vec<String>| {
        let cells = cells.iter().zip(&widths).map(|(cell, width)| format!("{cell:>width$}"));
        cells.collect::<Vec<_>>().join("  ")
    };
    lines.iter().map(|cells| line(cells).trim_end().to_owned() + "\n").collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ratio_is_the_median_over_the_rounds_and_not_the_ratio_of_medians() {
        let mut rounds = Rounds::default();
        for (direct, through) in [(1.0, 2.0), (100.0, 300.0), (1000.0, 1500.0)] {
            rounds.add("direct", "us", direct);
            rounds.add("agent", "us", through);
        }
        assert_eq!(rounds.median("agent", "us"), Some(300.0));
        assert_eq!(rounds.ratio("agent", "us", "direct"), Some(2.0));
        assert_eq!(rounds.ratio("agent", "cpu", "direct"), None);
        let table = rounds.table(&["direct", "agent"], &["us", "cpu"]);
        assert_eq!(table, "                 us  cpu\ndirect          100    -\n agent  300 (2.00x)    -\n");
    }
}

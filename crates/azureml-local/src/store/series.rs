//! Downsampled metrics: the latest value of each, and the minimum and maximum in each bucket of
//! steps ("stretch").
//!
//! Both are updated while values are logged, so a page costs the same after a hundred values and
//! after a hundred thousand. A series begins with one bucket per step. If there are too many,
//! buckets of twice the width replace them. No peak is lost.

use crate::error::Result;
use azureml_wire::mlflow::Metric;
use rusqlite::{Connection, OptionalExtension, params};
use std::collections::BTreeMap;

/// The maximum number of buckets of a series: about the width of a chart in pixels.
const MOST: i64 = 600;

/// A metric of a run.
#[derive(Debug, Clone)]
pub struct Series {
    /// Its id.
    pub id: i64,
    /// Its latest value: the one with the greatest step, then time, then value.
    pub last: Metric,
    /// The position of the last logged value in the order of logging.
    pub newest: i64,
}

/// The metrics of a run, by name.
pub fn of_run(store: &Connection, run: &str) -> Result<Vec<Series>> {
    let mut statement = store.prepare_cached(
        "SELECT id, newest, key, value, timestamp, step FROM series WHERE run = ?1 ORDER BY key",
    )?;
    let rows = statement.query_map(params![run], |row| {
        Ok(Series {
            id: row.get(0)?,
            newest: row.get(1)?,
            last: Metric {
                key: row.get(2)?,
                value: row.get::<_, Option<f64>>(3)?.unwrap_or(f64::NAN),
                timestamp: row.get(4)?,
                step: row.get(5)?,
            },
        })
    })?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

/// The points of a chart, by step: a step and a value. A step without a finite value has NaN.
pub fn points(store: &Connection, series: i64) -> Result<Vec<(f64, f64)>> {
    let mut statement = store.prepare_cached(
        "SELECT least, least_step, greatest, greatest_step FROM stretch WHERE series = ?1 ORDER BY start",
    )?;
    let mut rows = statement.query(params![series])?;
    let mut points = Vec::new();
    while let Some(row) = rows.next()? {
        let stretch = Stretch {
            least: row.get(0)?,
            least_step: row.get(1)?,
            greatest: row.get(2)?,
            greatest_step: row.get(3)?,
        };
        points.extend(stretch.points());
    }
    Ok(points)
}

/// The position of a run's newest value in the order of logging; it changes with every logged
/// value.
pub fn newest(store: &Connection, run: &str) -> Result<Option<i64>> {
    Ok(store
        .prepare_cached("SELECT max(newest) FROM series WHERE run = ?1")?
        .query_row(params![run], |row| row.get(0))?)
}

/// Adds values to the run's series. The values come in the order of logging, each with its
/// position.
pub fn add<'a>(
    store: &Connection,
    run: &str,
    values: impl IntoIterator<Item = (i64, &'a Metric)>,
) -> Result<()> {
    let mut open: BTreeMap<&str, Writer> = BTreeMap::new();
    for (place, metric) in values {
        if !open.contains_key(metric.key.as_str()) {
            open.insert(&metric.key, Writer::open(store, run, place, metric)?);
        }
        if let Some(writer) = open.get_mut(metric.key.as_str()) {
            writer.add(store, place, metric)?;
        }
    }
    for writer in open.into_values() {
        writer.finish(store)?;
    }
    Ok(())
}

/// Creates the series of a store from an older program.
pub fn make_all(store: &Connection) -> Result<()> {
    let mut statement = store.prepare(
        "SELECT seq, run, key, value, timestamp, step FROM metric ORDER BY run, key, step, timestamp, seq",
    )?;
    let mut rows = statement.query([])?;
    let mut open: Option<(String, String, Writer)> = None;
    while let Some(row) = rows.next()? {
        let (place, run): (i64, String) = (row.get(0)?, row.get(1)?);
        let metric = Metric {
            key: row.get(2)?,
            value: row.get::<_, Option<f64>>(3)?.unwrap_or(f64::NAN),
            timestamp: row.get(4)?,
            step: row.get(5)?,
        };
        let mut writer = match open.take() {
            Some((of, key, writer)) if of == run && key == metric.key => writer,
            other => {
                if let Some((_, _, done)) = other {
                    done.finish(store)?;
                }
                Writer::open(store, &run, place, &metric)?
            }
        };
        writer.add(store, place, &metric)?;
        open = Some((run, metric.key, writer));
    }
    if let Some((_, _, last)) = open {
        last.finish(store)?;
    }
    Ok(())
}

/// Corrects the latest values in stores of older programs, which chose the last logged value if
/// step and time were equal.
pub fn correct_latest(store: &Connection) -> Result<()> {
    store.execute_batch(
        "UPDATE series SET value = (SELECT metric.value FROM metric
             WHERE metric.run = series.run AND metric.key = series.key
               AND metric.step = series.step AND metric.timestamp = series.timestamp
             ORDER BY coalesce(metric.value, 0) DESC LIMIT 1)",
    )?;
    Ok(())
}

/// MLflow's order of values: by step, then time, then value; NaN compares as zero.
fn is_later(metric: &Metric, than: &Metric) -> bool {
    let size = |value: f64| if value.is_nan() { 0.0 } else { value };
    (metric.step, metric.timestamp, size(metric.value))
        > (than.step, than.timestamp, size(than.value))
}

/// The minimum and maximum of a bucket of steps.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Stretch {
    least: Option<f64>,
    least_step: i64,
    greatest: Option<f64>,
    greatest_step: i64,
}

impl Stretch {
    fn of(step: i64, value: f64) -> Self {
        let value = Some(value).filter(|value| value.is_finite());
        Self {
            least: value,
            least_step: step,
            greatest: value,
            greatest_step: step,
        }
    }

    fn join(&mut self, other: Self) {
        if other
            .least
            .is_some_and(|other| self.least.is_none_or(|least| other < least))
        {
            (self.least, self.least_step) = (other.least, other.least_step);
        }
        if other
            .greatest
            .is_some_and(|other| self.greatest.is_none_or(|greatest| other > greatest))
        {
            (self.greatest, self.greatest_step) = (other.greatest, other.greatest_step);
        }
    }

    fn points(self) -> impl Iterator<Item = (f64, f64)> {
        let least = (self.least_step as f64, self.least.unwrap_or(f64::NAN));
        let greatest = (self.greatest_step as f64, self.greatest.unwrap_or(f64::NAN));
        let (first, second) = if greatest.0 < least.0 {
            (greatest, least)
        } else {
            (least, greatest)
        };
        let one = self.least.is_none() || first == second;
        std::iter::once(first).chain((!one).then_some(second))
    }
}

/// Adds values to a series.
struct Writer {
    id: i64,
    last: Metric,
    newest: i64,
    width: i64,
    stretches: i64,
    /// The loaded and the new buckets.
    touched: BTreeMap<i64, Stretch>,
}

impl Writer {
    /// Opens the series of a value, or creates it.
    fn open(store: &Connection, run: &str, place: i64, metric: &Metric) -> Result<Self> {
        let found = store
            .prepare_cached(
                "SELECT id, newest, width, stretches, value, timestamp, step FROM series WHERE run = ?1 AND key = ?2",
            )?
            .query_row(params![run, metric.key], |row| {
                Ok(Self {
                    id: row.get(0)?,
                    newest: row.get(1)?,
                    width: row.get(2)?,
                    stretches: row.get(3)?,
                    last: Metric {
                        key: String::new(),
                        value: row.get::<_, Option<f64>>(4)?.unwrap_or(f64::NAN),
                        timestamp: row.get(5)?,
                        step: row.get(6)?,
                    },
                    touched: BTreeMap::new(),
                })
            })
            .optional()?;
        if let Some(found) = found {
            return Ok(found);
        }
        store
            .prepare_cached(
                "INSERT INTO series (run, key, value, timestamp, step, newest, width, stretches)
                   VALUES (?1, ?2, ?3, ?4, ?5, ?6, 1, 0)",
            )?
            .execute(params![
                run,
                metric.key,
                metric.value,
                metric.timestamp,
                metric.step,
                place
            ])?;
        Ok(Self {
            id: store.last_insert_rowid(),
            last: metric.clone(),
            newest: place,
            width: 1,
            stretches: 0,
            touched: BTreeMap::new(),
        })
    }

    fn add(&mut self, store: &Connection, place: i64, metric: &Metric) -> Result<()> {
        self.newest = self.newest.max(place);
        if is_later(metric, &self.last) {
            self.last = metric.clone();
        }
        // The width is a power of two, so this rounds down, also for negative steps.
        let start = metric.step & !(self.width - 1);
        let new = Stretch::of(metric.step, metric.value);
        if let Some(stretch) = self.touched.get_mut(&start) {
            stretch.join(new);
            return Ok(());
        }
        let stretch = if let Some(mut old) = self.read(store, start)? {
            old.join(new);
            old
        } else {
            self.stretches += 1;
            new
        };
        self.touched.insert(start, stretch);
        while self.stretches > MOST {
            self.widen(store)?;
        }
        Ok(())
    }

    fn read(&self, store: &Connection, start: i64) -> Result<Option<Stretch>> {
        Ok(store
            .prepare_cached(
                "SELECT least, least_step, greatest, greatest_step FROM stretch WHERE series = ?1 AND start = ?2",
            )?
            .query_row(params![self.id, start], |row| {
                Ok(Stretch {
                    least: row.get(0)?,
                    least_step: row.get(1)?,
                    greatest: row.get(2)?,
                    greatest_step: row.get(3)?,
                })
            })
            .optional()?)
    }

    /// Replaces the buckets by buckets of twice the width.
    fn widen(&mut self, store: &Connection) -> Result<()> {
        self.write(store)?;
        self.width *= 2;
        let mut statement = store.prepare_cached(
            "SELECT start, least, least_step, greatest, greatest_step FROM stretch WHERE series = ?1",
        )?;
        let mut rows = statement.query(params![self.id])?;
        self.touched.clear();
        while let Some(row) = rows.next()? {
            let start = row.get::<_, i64>(0)? & !(self.width - 1);
            let stretch = Stretch {
                least: row.get(1)?,
                least_step: row.get(2)?,
                greatest: row.get(3)?,
                greatest_step: row.get(4)?,
            };
            self.touched
                .entry(start)
                .and_modify(|joined| joined.join(stretch))
                .or_insert(stretch);
        }
        drop(rows);
        store
            .prepare_cached("DELETE FROM stretch WHERE series = ?1")?
            .execute(params![self.id])?;
        self.stretches = self.touched.len() as i64;
        Ok(())
    }

    fn write(&self, store: &Connection) -> Result<()> {
        let mut statement = store.prepare_cached(
            "INSERT OR REPLACE INTO stretch (series, start, least, least_step, greatest, greatest_step)
               VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
        )?;
        for (start, stretch) in &self.touched {
            statement.execute(params![
                self.id,
                start,
                stretch.least,
                stretch.least_step,
                stretch.greatest,
                stretch.greatest_step
            ])?;
        }
        Ok(())
    }

    fn finish(self, store: &Connection) -> Result<()> {
        self.write(store)?;
        store
            .prepare_cached(
                "UPDATE series SET value = ?2, timestamp = ?3, step = ?4, newest = ?5, width = ?6, stretches = ?7 WHERE id = ?1",
            )?
            .execute(params![
                self.id,
                self.last.value,
                self.last.timestamp,
                self.last.step,
                self.newest,
                self.width,
                self.stretches
            ])?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{Store, experiment, mlflow};

    /// A store with one run and values of one metric, logged in batches.
    fn logged(batch: usize, values: &[(i64, f64)]) -> (tempfile::TempDir, Store) {
        let folder = tempfile::tempdir().expect("a folder");
        let store = Store::open(&folder.path().join("store")).expect("a store");
        let metrics: Vec<Metric> = values
            .iter()
            .map(|(step, value)| Metric {
                key: "loss".to_owned(),
                value: *value,
                timestamp: 0,
                step: *step,
            })
            .collect();
        let log = |store: &Connection| {
            experiment::seed(store)?;
            let run = mlflow::NewRun {
                id: "run",
                experiment: 0,
                name: "run",
                status: "RUNNING",
                start_time: None,
                user: None,
                artifact_uri: None,
            };
            mlflow::insert_run(store, &run)?;
            for part in metrics.chunks(batch) {
                mlflow::log_metrics(store, "run", part)?;
            }
            Ok(())
        };
        store.transaction(log).expect("logged");
        (folder, store)
    }

    fn drawn(store: &Store) -> Vec<(f64, f64)> {
        let read = |store: &Connection| points(store, of_run(store, "run")?[0].id);
        store.transaction(read).expect("points")
    }

    #[test]
    fn few_values_are_all_there() {
        let (_folder, store) = logged(
            2,
            &[
                (3, 0.5),
                (-1, 2.0),
                (5, f64::NAN),
                (4, f64::INFINITY),
                (3, 0.25),
            ],
        );
        let points = drawn(&store);
        assert_eq!(points[..3], [(-1.0, 2.0), (3.0, 0.25), (3.0, 0.5)]);
        assert!(points[3].1.is_nan() && points[4].1.is_nan(), "{points:?}");
        let last = store
            .transaction(|store| of_run(store, "run"))
            .expect("series");
        assert_eq!(last[0].last.step, 5);
        assert!(last[0].last.value.is_nan());
    }

    #[test]
    fn many_values_are_few_points_and_keep_their_peaks() {
        let values: Vec<(i64, f64)> = (0..20_000)
            .map(|step| match step {
                12_345 => (step, 777.0),
                777 => (step, -5.0),
                _ => (step, (step % 7) as f64),
            })
            .collect();
        let mut backwards = values.clone();
        backwards.reverse();
        let (_folder, store) = logged(1000, &values);
        let expected = drawn(&store);
        assert!(expected.len() <= 1200, "{}", expected.len());
        assert!(expected.contains(&(12_345.0, 777.0)));
        assert!(expected.contains(&(777.0, -5.0)));
        assert!(expected.windows(2).all(|pair| pair[0].0 <= pair[1].0));
        // Independent of the batches, and also for values from an older program.
        let ends = |points: &[(f64, f64)]| {
            let mut values: Vec<f64> = points.iter().map(|point| point.1).collect();
            values.sort_by(f64::total_cmp);
            values
        };
        for (batch, values) in [(1, &values), (333, &backwards)] {
            assert_eq!(ends(&drawn(&logged(batch, values).1)), ends(&expected));
        }
        let again = |store: &Connection| {
            store.execute_batch("DELETE FROM stretch; DELETE FROM series;")?;
            make_all(store)
        };
        store.transaction(again).expect("made again");
        assert_eq!(drawn(&store), expected);
    }

    #[test]
    fn steps_may_be_anywhere() {
        let values: Vec<(i64, f64)> = (0..2000)
            .map(|number| (i64::MIN + number * (i64::MAX / 1000), number as f64))
            .chain([(i64::MAX, 1.0), (i64::MIN, 0.0)])
            .collect();
        let (_folder, store) = logged(100, &values);
        let points = drawn(&store);
        assert!(
            points
                .iter()
                .any(|point| point.1.total_cmp(&1999.0).is_eq()),
            "{points:?}"
        );
    }

    #[test]
    fn a_value_that_is_sent_again_changes_nothing() {
        let (_folder, store) = logged(1, &[(1, 0.5), (2, 0.25), (1, 0.5)]);
        let series = store
            .transaction(|store| of_run(store, "run"))
            .expect("series");
        assert_eq!((series[0].newest, series[0].last.step), (2, 2));
    }
}

//! MLflow's tracking REST, as far as metrics, parameters and tags go.

use serde::{Deserialize, Serialize};

/// One value of a metric.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Metric {
    /// The metric's name.
    pub key: String,
    /// The value; `NaN`, `Infinity` and `-Infinity` travel as text, as in MLflow's own JSON.
    #[serde(with = "number")]
    pub value: f64,
    /// Milliseconds since 1970.
    #[serde(deserialize_with = "crate::lenient::integer")]
    pub timestamp: i64,
    /// The step; 0 when the metric has none.
    #[serde(default, deserialize_with = "crate::lenient::integer")]
    pub step: i64,
}

/// Floating point numbers as MLflow's JSON has them.
mod number {
    use serde::de::{Deserializer, Error, Unexpected};
    use serde::{Deserialize, Serializer};
    use serde_json::Value;

    #[allow(
        clippy::trivially_copy_pass_by_ref,
        reason = "the signature that serde calls"
    )]
    pub fn serialize<S: Serializer>(value: &f64, serializer: S) -> Result<S::Ok, S::Error> {
        if value.is_finite() {
            serializer.serialize_f64(*value)
        } else if value.is_nan() {
            serializer.serialize_str("NaN")
        } else if *value > 0.0 {
            serializer.serialize_str("Infinity")
        } else {
            serializer.serialize_str("-Infinity")
        }
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
        match Value::deserialize(deserializer)? {
            Value::Number(number) => number
                .as_f64()
                .ok_or_else(|| D::Error::custom("a number that no f64 holds")),
            // `f64::from_str` knows `NaN`, `Infinity` and `-Infinity`.
            Value::String(text) => text
                .parse()
                .map_err(|_| D::Error::invalid_value(Unexpected::Str(&text), &"a number")),
            _ => Err(D::Error::custom("a metric's value is a number")),
        }
    }
}

/// One parameter.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Param {
    /// Its name.
    pub key: String,
    /// Its value.
    pub value: String,
}

/// One tag.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunTag {
    /// Its name.
    pub key: String,
    /// Its value.
    pub value: String,
}

/// A dataset that runs read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dataset {
    /// Its name.
    pub name: String,
    /// What tells its content from others.
    pub digest: String,
    /// The kind of its source.
    pub source_type: String,
    /// Where it comes from, as JSON in a text.
    pub source: String,
    /// Its columns, as JSON in a text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schema: Option<String>,
    /// Its size and the like, as JSON in a text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub profile: Option<String>,
}

/// A dataset that a run has read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DatasetInput {
    /// What it was read for and the like.
    #[serde(default)]
    pub tags: Vec<RunTag>,
    /// The dataset.
    pub dataset: Dataset,
}

/// `POST runs/log-batch`: at most 1000 metrics, 100 parameters and 100 tags.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct LogBatch {
    /// The run.
    pub run_id: String,
    /// Metrics.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub metrics: Vec<Metric>,
    /// Parameters.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub params: Vec<Param>,
    /// Tags.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<RunTag>,
}

/// `GET runs/get`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct GetRun {
    /// The run.
    pub run: Run,
}

/// A run.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Run {
    /// Identity and status.
    pub info: RunInfo,
    /// Latest metrics, parameters and tags.
    #[serde(default)]
    pub data: RunData,
    /// What it has read.
    #[serde(default)]
    pub inputs: RunInputs,
}

/// What a run has read.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct RunInputs {
    /// Datasets.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub dataset_inputs: Vec<DatasetInput>,
}

/// A run's identity and status.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct RunInfo {
    /// The run's id: the job's name.
    pub run_id: String,
    /// The same, under its older name.
    pub run_uuid: String,
    /// The name that people see.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub run_name: Option<String>,
    /// The experiment.
    pub experiment_id: String,
    /// The user.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user_id: Option<String>,
    /// `RUNNING`, `SCHEDULED`, `FINISHED`, `FAILED`, `KILLED`.
    pub status: String,
    /// Milliseconds since 1970.
    #[serde(
        skip_serializing_if = "Option::is_none",
        deserialize_with = "crate::lenient::optional_integer"
    )]
    pub start_time: Option<i64>,
    /// Milliseconds since 1970.
    #[serde(
        skip_serializing_if = "Option::is_none",
        deserialize_with = "crate::lenient::optional_integer"
    )]
    pub end_time: Option<i64>,
    /// Root of the run's artifacts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub artifact_uri: Option<String>,
    /// `active` or `deleted`.
    pub lifecycle_stage: String,
}

/// A run's latest metrics, parameters and tags.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct RunData {
    /// The latest value of each metric.
    pub metrics: Vec<Metric>,
    /// Parameters.
    pub params: Vec<Param>,
    /// Tags.
    pub tags: Vec<RunTag>,
}

/// `GET metrics/get-history`.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct MetricHistory {
    /// Every value, in the order of logging.
    pub metrics: Vec<Metric>,
    /// Where to go on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_page_token: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::Metric;

    #[test]
    fn numbers_that_json_lacks_travel_as_text() {
        for (value, text) in [
            (f64::NAN, r#""NaN""#),
            (f64::INFINITY, r#""Infinity""#),
            (f64::NEG_INFINITY, r#""-Infinity""#),
            (0.5, "0.5"),
        ] {
            let metric = Metric {
                key: "loss".into(),
                value,
                timestamp: 1,
                step: 2,
            };
            let json = serde_json::to_string(&metric).unwrap();
            assert_eq!(
                json,
                format!(r#"{{"key":"loss","value":{text},"timestamp":1,"step":2}}"#)
            );
            let back: Metric = serde_json::from_str(&json).unwrap();
            assert!(
                back.value.to_bits() == value.to_bits() || back.value.is_nan() && value.is_nan()
            );
        }
        assert!(
            serde_json::from_str::<Metric>(r#"{"key":"a","value":"b","timestamp":1}"#).is_err()
        );
    }
}

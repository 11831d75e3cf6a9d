//! The subset of MLflow's tracking REST API for metrics, parameters, tags and data set inputs.

use serde::{Deserialize, Serialize};

/// One value of a metric.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Metric {
    /// The metric's name.
    pub key: String,
    /// The value. `NaN`, `Infinity` and `-Infinity` are encoded as strings, as in MLflow's own
    /// JSON.
    #[serde(with = "number")]
    pub value: f64,
    /// Milliseconds since the Unix epoch.
    #[serde(deserialize_with = "crate::lenient::integer")]
    pub timestamp: i64,
    /// The step; 0 when the metric has none.
    #[serde(default, deserialize_with = "crate::lenient::integer")]
    pub step: i64,
}

/// Floating-point numbers in the encoding of MLflow's JSON.
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
            // `f64::from_str` accepts `NaN`, `Infinity` and `-Infinity`.
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
    /// The name.
    pub key: String,
    /// The value.
    pub value: String,
}

/// One tag.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunTag {
    /// The name.
    pub key: String,
    /// The value.
    pub value: String,
}

/// A dataset that runs use as an input.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dataset {
    /// The name.
    pub name: String,
    /// A digest of the content.
    pub digest: String,
    /// The type of the source.
    pub source_type: String,
    /// The source, as JSON in a string.
    pub source: String,
    /// The columns, as JSON in a string.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schema: Option<String>,
    /// Statistics such as the size, as JSON in a string.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub profile: Option<String>,
}

/// A dataset that is an input of a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DatasetInput {
    /// Tags of the input, e.g. its context (training, evaluation).
    #[serde(default)]
    pub tags: Vec<RunTag>,
    /// The dataset.
    pub dataset: Dataset,
}

/// The request of `POST runs/log-batch`: at most 1000 metrics, 100 parameters and 100 tags.
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

/// The response of `GET runs/get`.
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
    /// The inputs of the run.
    #[serde(default)]
    pub inputs: RunInputs,
}

/// The inputs of a run.
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
    /// The run's id, which is the job's name.
    pub run_id: String,
    /// The same id under its deprecated name.
    pub run_uuid: String,
    /// The display name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub run_name: Option<String>,
    /// The experiment.
    pub experiment_id: String,
    /// The user.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user_id: Option<String>,
    /// `RUNNING`, `SCHEDULED`, `FINISHED`, `FAILED`, `KILLED`.
    pub status: String,
    /// Milliseconds since the Unix epoch.
    #[serde(
        skip_serializing_if = "Option::is_none",
        deserialize_with = "crate::lenient::optional_integer"
    )]
    pub start_time: Option<i64>,
    /// Milliseconds since the Unix epoch.
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

/// The response of `GET metrics/get-history`.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct MetricHistory {
    /// All values, in the order in which they were logged.
    pub metrics: Vec<Metric>,
    /// Token of the next page; absent on the last page.
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

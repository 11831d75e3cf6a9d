//! Finds the files of a model that are a Triton model repository.

use std::collections::BTreeMap;

/// A model in Triton's layout: `{model}/config.pbtxt` and `{model}/{version}/model.{format}`.
#[derive(Debug, PartialEq)]
pub struct Served {
    /// Its folder; empty if the model's root is the model folder.
    pub folder: String,
    /// The Triton backend.
    pub backend: &'static str,
    /// Whether it has a `config.pbtxt`; some backends need none.
    pub configured: bool,
    /// Its versions, each with its file.
    pub versions: BTreeMap<u64, String>,
}

/// The file names that Triton loads, with their backends.
const BACKENDS: [(&str, &str); 6] = [
    ("model.pt", "PyTorch"),
    ("model.onnx", "ONNX Runtime"),
    ("model.plan", "TensorRT"),
    ("model.savedmodel", "TensorFlow"),
    ("model.py", "Python"),
    ("model.json", "vLLM"),
];

fn backend(file: &str) -> Option<&'static str> {
    BACKENDS
        .iter()
        .find(|(name, _)| *name == file)
        .map(|(_, backend)| *backend)
}

/// The models that Triton finds among files.
pub fn served(paths: &[&str]) -> Vec<Served> {
    let mut found: BTreeMap<&str, Served> = BTreeMap::new();
    for &path in paths {
        // A TensorFlow SavedModel is a folder.
        let path = path
            .split_once("/model.savedmodel/")
            .map_or(path, |(before, _)| {
                &path[..before.len() + "/model.savedmodel".len()]
            });
        let Some((rest, file)) = path.rsplit_once('/') else {
            continue;
        };
        let (folder, version) = rest.rsplit_once('/').unwrap_or(("", rest));
        let (Some(backend), Ok(version)) = (backend(file), version.parse()) else {
            continue;
        };
        let config = if folder.is_empty() {
            "config.pbtxt".to_owned()
        } else {
            format!("{folder}/config.pbtxt")
        };
        let model = found.entry(folder).or_insert_with(|| Served {
            folder: folder.to_owned(),
            backend,
            configured: paths.contains(&config.as_str()),
            versions: BTreeMap::new(),
        });
        model.versions.insert(version, file.to_owned());
    }
    found.into_values().collect()
}

/// For a model in another layout: pairs of a file and the path that Triton requires.
pub fn wanted(model: &str, paths: &[&str]) -> Vec<(String, String)> {
    paths
        .iter()
        .filter_map(|path| {
            let file = path.rsplit('/').next().unwrap_or(path);
            // Only these names are certainly model files; others may be anything.
            let known = matches!(file, "model.pt" | "model.onnx" | "model.plan");
            known.then(|| ((*path).to_owned(), format!("{model}/1/{file}")))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_model_repository_is_recognized() {
        let paths = [
            "MLmodel",
            "model_repository/mnist/1/model.pt",
            "model_repository/mnist/12/model.pt",
            "model_repository/mnist/config.pbtxt",
            "model_repository/text/1/model.savedmodel/saved_model.pb",
            "model_repository/text/1/model.savedmodel/variables/index",
            "model_repository/text/x/model.pt",
        ];
        let expected = [
            Served {
                folder: "model_repository/mnist".to_owned(),
                backend: "PyTorch",
                configured: true,
                versions: [1, 12]
                    .map(|version| (version, "model.pt".to_owned()))
                    .into(),
            },
            Served {
                folder: "model_repository/text".to_owned(),
                backend: "TensorFlow",
                configured: false,
                versions: [(1, "model.savedmodel".to_owned())].into(),
            },
        ];
        assert_eq!(served(&paths), expected);
        let alone = served(&["1/model.onnx", "config.pbtxt"]);
        assert_eq!((alone[0].folder.as_str(), alone[0].configured), ("", true));
        assert_eq!(served(&["model.pt", "a/model.pt"]), []);
    }

    #[test]
    fn other_models_are_told_where_they_would_go() {
        let wanted = wanted("mnist-cnn", &["MLmodel", "model.json", "data/model.pt"]);
        let expected = (
            "data/model.pt".to_owned(),
            "mnist-cnn/1/model.pt".to_owned(),
        );
        assert_eq!(wanted, [expected]);
    }
}

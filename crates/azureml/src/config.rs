//! `config.json` with the workspace, searched as SDK v1 does.

use crate::error::{Error, Result};
use azureml_wire::routes::WorkspaceScope;
use serde_json::Value;
use std::path::{Path, PathBuf};

const FOLDERS: [&str; 3] = [".azureml", "aml_config", ""];
const FILES: [&str; 2] = ["config.json", "project.json"];

/// The configuration file nearest to `from`, up to the root.
pub fn find(from: &Path) -> Option<PathBuf> {
    from.ancestors()
        .flat_map(|folder| {
            FOLDERS
                .iter()
                .flat_map(move |sub| FILES.iter().map(move |file| folder.join(sub).join(file)))
        })
        .find(|path| path.is_file())
}

/// The workspace in the file at `path`.
pub fn read(path: &Path) -> Result<WorkspaceScope> {
    let text = std::fs::read_to_string(path).map_err(Error::io("cannot read", path))?;
    parse(path, &text)
}

fn parse(path: &Path, text: &str) -> Result<WorkspaceScope> {
    let wrong = |line, reason, hint| Error::Config {
        path: path.to_owned(),
        line,
        reason,
        hint,
    };
    let json: Value = serde_json::from_str(text.trim_start_matches('\u{feff}')).map_err(|error| {
        // serde_json appends the line and column, which the error shows after the path already.
        let reason = error.to_string();
        let reason = reason.split(" at line ").next().unwrap_or(&reason);
        wrong(
            Some(error.line()),
            format!("this is no JSON: {reason} (column {})", error.column()),
            "mend that line, or download config.json again from the workspace's page in Azure's portal",
        )
    })?;
    let field = |name: &str| {
        json.get(name)
            .and_then(Value::as_str)
            .filter(|value| !value.is_empty())
    };
    // Old versions of `az ml` wrote only the ARM id.
    if let Some(scope) = field("Scope").or_else(|| field("scope")) {
        return from_arm_id(scope).ok_or_else(|| {
            wrong(
                None,
                format!("`Scope` is not the id of a workspace: {scope}"),
                "it looks like /subscriptions/…/resourceGroups/…/providers/Microsoft.MachineLearningServices/workspaces/…",
            )
        });
    }
    let missing: Vec<&str> = ["subscription_id", "resource_group", "workspace_name"]
        .into_iter()
        .filter(|name| field(name).is_none())
        .collect();
    if !missing.is_empty() {
        return Err(wrong(
            None,
            format!("without {}", missing.join(", ")),
            r#"it looks like {"subscription_id": "…", "resource_group": "…", "workspace_name": "…"}"#,
        ));
    }
    let owned = |name| field(name).unwrap_or_default().to_owned();
    Ok(WorkspaceScope {
        subscription_id: owned("subscription_id"),
        resource_group: owned("resource_group"),
        workspace_name: owned("workspace_name"),
    })
}

fn from_arm_id(id: &str) -> Option<WorkspaceScope> {
    let parts: Vec<&str> = id.trim_matches('/').split('/').collect();
    let after = |key: &str| {
        let index = parts
            .iter()
            .position(|part| part.eq_ignore_ascii_case(key))?;
        parts.get(index + 1).map(|part| (*part).to_owned())
    };
    Some(WorkspaceScope {
        subscription_id: after("subscriptions")?,
        resource_group: after("resourceGroups")?,
        workspace_name: after("workspaces")?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = r#"{"subscription_id": "s", "resource_group": "g", "workspace_name": "w"}"#;

    fn check(text: &str) -> String {
        match parse(Path::new("lab/config.json"), text) {
            Ok(scope) => format!(
                "{}/{}/{}",
                scope.subscription_id, scope.resource_group, scope.workspace_name
            ),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn good_files_of_all_forms() {
        assert_eq!(check(GOOD), "s/g/w");
        assert_eq!(check(&format!("\u{feff}{GOOD}")), "s/g/w");
        let id = "/subscriptions/s/resourceGroups/g/providers/Microsoft.MachineLearningServices/workspaces/w";
        assert_eq!(
            check(&format!(r#"{{"Id": null, "Scope": "{id}"}}"#)),
            "s/g/w"
        );
    }

    #[test]
    fn bad_files_say_where_and_what_to_do() {
        insta::assert_snapshot!(check("{\n  \"subscription_id\": \"s\"\n  \"resource_group\": \"g\"\n}"), @r#"
        lab/config.json:3: this is no JSON: expected `,` or `}` (column 3)
        hint: mend that line, or download config.json again from the workspace's page in Azure's portal
        "#);
        insta::assert_snapshot!(check(r#"{"subscription_id": "s", "workspace_name": 5}"#), @r#"
        lab/config.json: without resource_group, workspace_name
        hint: it looks like {"subscription_id": "…", "resource_group": "…", "workspace_name": "…"}
        "#);
        insta::assert_snapshot!(check(r#"{"Scope": "/subscriptions/s"}"#), @r"
        lab/config.json: `Scope` is not the id of a workspace: /subscriptions/s
        hint: it looks like /subscriptions/…/resourceGroups/…/providers/Microsoft.MachineLearningServices/workspaces/…
        ");
        assert!(check("").starts_with("lab/config.json:1: this is no JSON: EOF"));
        assert!(check("[]").contains("without subscription_id, resource_group, workspace_name"));
    }

    #[test]
    fn the_nearest_file_wins_and_azureml_comes_before_the_folder_itself() {
        let root = tempfile::tempdir().unwrap();
        let deep = root.path().join("a/b");
        std::fs::create_dir_all(deep.join("c")).unwrap();
        assert_eq!(
            find(&deep).filter(|path| path.starts_with(root.path())),
            None
        );
        for (file, expected) in [
            ("config.json", "config.json"),
            ("a/project.json", "a/project.json"),
            ("a/config.json", "a/config.json"),
            ("a/aml_config/project.json", "a/aml_config/project.json"),
            ("a/.azureml/config.json", "a/.azureml/config.json"),
            ("a/b/config.json", "a/b/config.json"),
        ] {
            let path = root.path().join(file);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(&path, GOOD).unwrap();
            assert_eq!(find(&deep.join("c")), Some(root.path().join(expected)));
        }
    }
}

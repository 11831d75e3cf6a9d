//! The configuration of a job.

use crate::environment::{EnvironmentReference, Reference};
use crate::error::{Error, Result};
use crate::input::{Distribution, Input, Output};
use crate::near::near;
use crate::quote;
use crate::show::{Card, Cell};
use std::collections::BTreeMap;
use std::fmt::{self, Display};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The configuration of a job: program, compute, environment, inputs and outputs. It is submitted
/// by [`Experiment::submit`](crate::Experiment::submit).
///
/// The script is a path in the source directory. `train.rs` is the binary target of the Cargo
/// package there: it is built on the submitting machine, and the job receives the binary.
/// `train.py` is run by `python`.
///
/// ```
/// use azureml::prelude::*;
///
/// let config = ScriptRunConfig::new("script")
///     .script("train.rs")
///     .arguments(["--epochs", "2", "--data", "${{inputs.mnist}}"])
///     .input("mnist", Input::folder("data"))
///     .compute_target("cc-aml-gpu")
///     .environment("rust-tch-gpu");
/// ```
#[derive(Clone)]
#[must_use = "a configuration does nothing until it is submitted"]
pub struct ScriptRunConfig {
    pub(crate) source_directory: PathBuf,
    pub(crate) script: Option<String>,
    pub(crate) arguments: Vec<String>,
    pub(crate) command: Option<String>,
    pub(crate) compute_target: Option<String>,
    pub(crate) environment: Option<EnvironmentReference>,
    pub(crate) environment_variables: BTreeMap<String, String>,
    pub(crate) inputs: BTreeMap<String, Input>,
    pub(crate) outputs: BTreeMap<String, Output>,
    pub(crate) distribution: Option<Distribution>,
    pub(crate) node_count: Option<u32>,
    pub(crate) instance_type: Option<String>,
    pub(crate) shared_memory: Option<String>,
    pub(crate) docker_arguments: Option<String>,
    pub(crate) max_run_duration: Option<Duration>,
    pub(crate) display_name: Option<String>,
    pub(crate) description: Option<String>,
    pub(crate) tags: BTreeMap<String, String>,
}

/// The program of a job.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Program<'a> {
    /// A custom command line.
    Command(&'a str),
    /// A Python script.
    Python(&'a str),
    /// A shell script.
    Shell(&'a str),
    /// A Rust script.
    Rust(&'a str),
}

impl fmt::Debug for ScriptRunConfig {
    /// Prints the names of the environment variables and hides their values, which may be secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let variables: Vec<&String> = self.environment_variables.keys().collect();
        f.debug_struct("ScriptRunConfig")
            .field("source_directory", &self.source_directory)
            .field("script", &self.script)
            .field("arguments", &self.arguments)
            .field("command", &self.command)
            .field("compute_target", &self.compute_target)
            .field("environment", &self.environment)
            .field("environment_variables", &variables)
            .field("inputs", &self.inputs)
            .field("outputs", &self.outputs)
            .field("distribution", &self.distribution)
            .field("node_count", &self.node_count)
            .field("instance_type", &self.instance_type)
            .field("shared_memory", &self.shared_memory)
            .field("docker_arguments", &self.docker_arguments)
            .field("max_run_duration", &self.max_run_duration)
            .field("display_name", &self.display_name)
            .field("description", &self.description)
            .field("tags", &self.tags)
            .finish()
    }
}

impl ScriptRunConfig {
    /// A job with the code in `source_directory`; a relative path is relative to the notebook's
    /// folder.
    pub fn new(source_directory: impl Into<PathBuf>) -> Self {
        Self {
            source_directory: source_directory.into(),
            script: None,
            arguments: Vec::new(),
            command: None,
            compute_target: None,
            environment: None,
            environment_variables: BTreeMap::new(),
            inputs: BTreeMap::new(),
            outputs: BTreeMap::new(),
            distribution: None,
            node_count: None,
            instance_type: None,
            shared_memory: None,
            docker_arguments: None,
            max_run_duration: None,
            display_name: None,
            description: None,
            tags: BTreeMap::new(),
        }
    }

    /// Sets the script: `train.rs`, `train.py` or `train.sh`, relative to the source directory.
    pub fn script(mut self, script: impl Into<String>) -> Self {
        self.script = Some(script.into());
        self
    }

    /// Sets the arguments of the script. They are passed unchanged, except that `${{inputs.name}}`
    /// and `${{outputs.name}}` are replaced.
    pub fn arguments<A: ToString>(mut self, arguments: impl IntoIterator<Item = A>) -> Self {
        self.arguments = arguments
            .into_iter()
            .map(|argument| argument.to_string())
            .collect();
        self
    }

    /// Sets a command line for the shell, in place of a script and its arguments.
    pub fn command(mut self, command: impl Into<String>) -> Self {
        self.command = Some(command.into());
        self
    }

    /// Sets the name of the compute target.
    pub fn compute_target(mut self, name: impl Into<String>) -> Self {
        self.compute_target = Some(name.into());
        self
    }

    /// Sets the environment: an [`Environment`](crate::Environment) or the name of one.
    pub fn environment(mut self, environment: impl Into<EnvironmentReference>) -> Self {
        self.environment = Some(environment.into());
        self
    }

    /// Adds an environment variable of the process; can be called repeatedly.
    pub fn environment_variable(mut self, name: impl Into<String>, value: impl Display) -> Self {
        self.environment_variables
            .insert(name.into(), value.to_string());
        self
    }

    /// Adds environment variables of the process.
    pub fn environment_variables<K: Into<String>, V: Display>(
        mut self,
        variables: impl IntoIterator<Item = (K, V)>,
    ) -> Self {
        for (name, value) in variables {
            self.environment_variables
                .insert(name.into(), value.to_string());
        }
        self
    }

    /// Adds an input; can be called repeatedly.
    pub fn input(mut self, name: impl Into<String>, input: Input) -> Self {
        self.inputs.insert(name.into(), input);
        self
    }

    /// Adds an output; can be called repeatedly. The folder `outputs` of the job is always kept.
    pub fn output(mut self, name: impl Into<String>, output: Output) -> Self {
        self.outputs.insert(name.into(), output);
        self
    }

    /// Distributes the job to several processes.
    pub fn distribution(mut self, distribution: Distribution) -> Self {
        self.distribution = Some(distribution);
        self
    }

    /// Sets the number of nodes; the default is one.
    pub fn node_count(mut self, nodes: u32) -> Self {
        self.node_count = Some(nodes);
        self
    }

    /// Sets the machine size for the compute target `serverless`: `Standard_NC6s_v3`.
    pub fn instance_type(mut self, size: impl Into<String>) -> Self {
        self.instance_type = Some(size.into());
        self
    }

    /// Sets the shared memory of each node's container in Docker's format: `8g`. The default is 2
    /// GB, too little for data loaders with several processes.
    pub fn shared_memory(mut self, size: impl Into<String>) -> Self {
        self.shared_memory = Some(size.into());
        self
    }

    /// Sets further arguments for `docker run`: `--ipc=host`.
    pub fn docker_arguments(mut self, arguments: impl Into<String>) -> Self {
        self.docker_arguments = Some(arguments.into());
        self
    }

    /// Sets the time limit of the running job in seconds.
    pub fn max_run_duration_seconds(mut self, seconds: u64) -> Self {
        self.max_run_duration = Some(Duration::from_secs(seconds));
        self
    }

    /// Sets the display name.
    pub fn display_name(mut self, name: impl Into<String>) -> Self {
        self.display_name = Some(name.into());
        self
    }

    /// Sets the description.
    pub fn description(mut self, description: impl Into<String>) -> Self {
        self.description = Some(description.into());
        self
    }

    /// Adds a tag; can be called repeatedly.
    pub fn tag(mut self, name: impl Into<String>, value: impl Display) -> Self {
        self.tags.insert(name.into(), value.to_string());
        self
    }

    /// Adds tags.
    pub fn tags<K: Into<String>, V: Display>(
        mut self,
        tags: impl IntoIterator<Item = (K, V)>,
    ) -> Self {
        for (name, value) in tags {
            self.tags.insert(name.into(), value.to_string());
        }
        self
    }

    /// The program of the job, after all checks that are possible on this machine.
    pub(crate) fn program(&self) -> Result<Program<'_>> {
        if !self.source_directory.is_dir() {
            let here = std::env::current_dir().unwrap_or_default();
            return Err(Error::invalid(
                format!(
                    "the source directory {} is not there",
                    self.source_directory.display()
                ),
                format!("a relative path begins in {}", here.display()),
            ));
        }
        self.check_numbers()?;
        self.check_names()?;
        match (&self.script, &self.command) {
            (Some(_), Some(_)) => Err(Error::invalid(
                "a job has either a script or a command, not both",
                "leave out `.script(…)` or `.command(…)`",
            )),
            (None, None) => Err(Error::invalid(
                "the job has nothing to run",
                "add `.script(\"train.rs\")` or `.command(\"…\")`",
            )),
            (None, Some(_)) if !self.arguments.is_empty() => Err(Error::invalid(
                "`.arguments(…)` belong to a script, and this job has a command",
                "write them into the command",
            )),
            (None, Some(command)) if command.trim().is_empty() => Err(Error::invalid(
                "the command is empty",
                "write what the shell shall run",
            )),
            (None, Some(command)) => {
                self.check_placeholders([command.as_str()])?;
                Ok(Program::Command(command))
            }
            (Some(script), None) => {
                self.check_placeholders(self.arguments.iter().map(String::as_str))?;
                self.check_script(script)?;
                match Path::new(script)
                    .extension()
                    .and_then(|extension| extension.to_str())
                {
                    Some("rs") => Ok(Program::Rust(script)),
                    Some("py") => Ok(Program::Python(script)),
                    Some("sh") => Ok(Program::Shell(script)),
                    _ => Err(Error::invalid(
                        format!("it is not known how to run {script}"),
                        "scripts end in .rs, .py or .sh; anything else can be run by `.command(…)`",
                    )),
                }
            }
        }
    }

    fn check_numbers(&self) -> Result<()> {
        let zero = |what: &str| {
            Err(Error::invalid(
                format!("{what} is 0"),
                "a job needs at least one",
            ))
        };
        if self.node_count == Some(0) {
            return zero("the number of nodes");
        }
        if self
            .distribution
            .is_some_and(|distribution| distribution.processes() == 0)
        {
            return zero("the number of processes on each node");
        }
        if self.max_run_duration == Some(Duration::ZERO) {
            return Err(Error::invalid(
                "the job may take 0 seconds",
                "leave out `.max_run_duration_seconds(…)` for no limit of your own",
            ));
        }
        Ok(())
    }

    fn check_names(&self) -> Result<()> {
        let is_name = |name: &str| {
            let mut chars = name.chars();
            chars
                .next()
                .is_some_and(|first| first.is_ascii_alphabetic() || first == '_')
                && chars.all(|c| c.is_ascii_alphanumeric() || c == '_')
        };
        for (kind, name) in self
            .inputs
            .keys()
            .map(|name| ("input", name))
            .chain(self.outputs.keys().map(|name| ("output", name)))
        {
            if !is_name(name) {
                return Err(Error::invalid(
                    format!("`{name}` cannot be the name of an {kind}"),
                    "names are letters, digits and `_`, and begin with a letter",
                ));
            }
        }
        let wrong = |name: &&String| name.is_empty() || name.contains(['=', '\0']);
        if let Some(name) = self.environment_variables.keys().find(wrong) {
            return Err(Error::invalid(
                format!("`{name}` cannot be the name of an environment variable"),
                "it is given as name and value: `.environment_variable(\"NAME\", \"value\")`",
            ));
        }
        Ok(())
    }

    /// Checks that every `${{inputs.x}}` and `${{outputs.x}}` is defined.
    fn check_placeholders<'a>(&self, texts: impl IntoIterator<Item = &'a str>) -> Result<()> {
        for text in texts {
            for part in text.split("${{").skip(1) {
                let Some((placeholder, _)) = part.split_once("}}") else {
                    continue;
                };
                let (known, name): (Vec<&str>, &str) = match placeholder.trim().split_once('.') {
                    Some(("inputs", name)) => {
                        (self.inputs.keys().map(String::as_str).collect(), name)
                    }
                    Some(("outputs", name)) => {
                        (self.outputs.keys().map(String::as_str).collect(), name)
                    }
                    _ => continue,
                };
                if !known.contains(&name) {
                    let hint = match near(name, known.iter().copied()).first() {
                        Some(near) => format!("did you mean `{near}`?"),
                        None if placeholder.trim().starts_with("inputs") => {
                            format!("add `.input(\"{name}\", Input::folder(\"…\"))`")
                        }
                        None => format!("add `.output(\"{name}\", Output::folder())`"),
                    };
                    return Err(Error::invalid(
                        format!("${{{{{}}}}} stands for nothing", placeholder.trim()),
                        hint,
                    ));
                }
            }
        }
        Ok(())
    }

    fn check_script(&self, script: &str) -> Result<()> {
        let path = self.source_directory.join(script);
        let leads_out = Path::new(script).is_absolute()
            || Path::new(script)
                .components()
                .any(|part| part == std::path::Component::ParentDir);
        if leads_out {
            return Err(Error::invalid(
                format!(
                    "the script {script} is not inside {}",
                    self.source_directory.display()
                ),
                "the script is named relative to the source directory, and only that is sent",
            ));
        }
        if path.is_file() {
            return Ok(());
        }
        let mut there: Vec<String> = std::fs::read_dir(&self.source_directory)
            .map_err(Error::io("cannot read", &self.source_directory))?
            .filter_map(|entry| {
                let entry = entry.ok()?;
                let is_script = ["rs", "py", "sh"]
                    .iter()
                    .any(|end| entry.path().extension().is_some_and(|e| e == *end));
                is_script.then(|| entry.file_name().to_string_lossy().into_owned())
            })
            .collect();
        there.sort();
        let listing = if there.is_empty() {
            "no script at all".to_owned()
        } else {
            there.join(", ")
        };
        let hint = match near(script, there.iter().map(String::as_str)).first() {
            Some(near) => format!("did you mean `{near}`?"),
            None => "the script is named relative to the source directory".to_owned(),
        };
        Err(Error::invalid(
            format!(
                "{script} is not in {}; there is {listing}",
                self.source_directory.display()
            ),
            hint,
        ))
    }

    /// The command line of a script that is started by `start`.
    pub(crate) fn command_line(&self, start: &[&str]) -> String {
        quote::join(
            start
                .iter()
                .copied()
                .chain(self.arguments.iter().map(String::as_str)),
        )
    }
}

impl notebook::Display for ScriptRunConfig {
    fn mime_bundle(&self) -> notebook::MimeBundle {
        let names = |names: Vec<&String>| {
            let names: Vec<&str> = names.into_iter().map(String::as_str).collect();
            (!names.is_empty()).then(|| names.join(", "))
        };
        let script = self
            .script
            .as_deref()
            .map(|script| self.command_line(&[script]));
        let environment = self
            .environment
            .as_ref()
            .map(|environment| match &environment.0 {
                Reference::Name(name) => name.as_str(),
                Reference::Environment(environment) => environment.name(),
            });
        Card::new("Job", self.display_name.as_deref().unwrap_or_default())
            .row(
                "Code",
                Cell::text(self.source_directory.display().to_string()),
            )
            .optional("Script", script)
            .optional("Command", self.command.as_deref())
            .optional("Environment", environment)
            .optional("Compute", self.compute_target.as_deref())
            .optional("Inputs", names(self.inputs.keys().collect()))
            .optional("Outputs", names(self.outputs.keys().collect()))
            .optional(
                "Variables",
                names(self.environment_variables.keys().collect()),
            )
            .mime_bundle()
    }
}

notebook::evcxr_display!(ScriptRunConfig);

#[cfg(test)]
mod tests {
    use super::*;

    fn folder() -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for name in ["train.py", "train.rs", "notes.txt"] {
            std::fs::write(folder.path().join(name), "").unwrap();
        }
        folder
    }

    /// The error of a configuration, without the name of the temporary folder.
    fn error(config: &ScriptRunConfig) -> String {
        let text = config.program().unwrap_err().to_string();
        text.replace(config.source_directory.to_str().unwrap(), "script")
    }

    #[test]
    fn debug_shows_no_values_of_variables() {
        let config = ScriptRunConfig::new("s").environment_variable("TOKEN", "secret");
        let text = format!("{config:?}");
        assert!(text.contains("TOKEN") && !text.contains("secret"), "{text}");
    }

    #[test]
    fn the_extension_says_how_a_script_runs() {
        let folder = folder();
        let config = ScriptRunConfig::new(folder.path());
        assert_eq!(
            config.clone().script("train.py").program().unwrap(),
            Program::Python("train.py")
        );
        assert_eq!(
            config.clone().script("train.rs").program().unwrap(),
            Program::Rust("train.rs")
        );
        assert_eq!(
            config.clone().command("ls").program().unwrap(),
            Program::Command("ls")
        );
    }

    #[test]
    fn arguments_are_quoted() {
        let config = ScriptRunConfig::new("x").arguments(["--name", "a b", "${{inputs.x}}"]);
        assert_eq!(
            config.command_line(&["python", "train.py"]),
            r#"python train.py --name 'a b' "${{inputs.x}}""#
        );
        let config = ScriptRunConfig::new("x").arguments([1.5, 2.0]);
        assert_eq!(config.command_line(&["sh", "x.sh"]), "sh x.sh 1.5 2");
    }

    #[test]
    fn a_job_shows_what_it_is_made_of() {
        use notebook::Display;
        let config = ScriptRunConfig::new("script")
            .script("train.rs")
            .arguments(["--data", "${{inputs.mnist}}"])
            .input("mnist", Input::folder("data"))
            .environment("rust-tch-gpu")
            .environment_variable("SECRET", "is not shown")
            .compute_target("cc-aml-gpu");
        insta::assert_snapshot!(config.mime_bundle().plain_text().unwrap(), @r#"
        Job
          Code         script
          Script       train.rs --data "${{inputs.mnist}}"
          Environment  rust-tch-gpu
          Compute      cc-aml-gpu
          Inputs       mnist
          Variables    SECRET
        "#);
    }

    #[test]
    fn mistakes_are_found_before_anything_is_sent() {
        let folder = folder();
        let config = ScriptRunConfig::new(folder.path());
        let missing = ScriptRunConfig::new("no/such/folder")
            .program()
            .unwrap_err()
            .to_string();
        assert!(missing.starts_with(
            "the source directory no/such/folder is not there\nhint: a relative path begins in /"
        ));
        let errors = [
            config.clone(),
            config.clone().script("train.py").command("ls"),
            config.clone().command("ls").arguments(["-l"]),
            config.clone().script("trian.py"),
            config.clone().script("other.rs"),
            config.clone().script("../train.py"),
            config.clone().script("notes.txt"),
            config
                .clone()
                .command("cat ${{inputs.mnits}}")
                .input("mnist", Input::folder("data")),
            config.clone().command("cat ${{outputs.model}}"),
            config.clone().command("ls").input("a-b", Input::literal(1)),
            config.clone().command("ls").node_count(0),
            config
                .clone()
                .command("ls")
                .distribution(Distribution::mpi(0)),
            config.clone().command("ls").environment_variable("A=B", 1),
        ];
        let errors: Vec<String> = errors.iter().map(error).collect();
        insta::assert_snapshot!(errors.join("\n\n"));
    }
}

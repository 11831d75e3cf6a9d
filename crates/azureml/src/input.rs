//! What goes into a job, what comes out of it, and how its processes are spread.

use azureml_wire::job;
use std::fmt::Display;
use std::path::PathBuf;

/// Something that goes into a job; named in [`ScriptRunConfig::input`](crate::ScriptRunConfig::input), and put into the
/// command line where `${{inputs.name}}` stands.
///
/// Files and folders are given by a path on this machine, which is uploaded at submit unless the same content is there
/// already, or by an address: `azureml://…`, `azureml:name:version`, `https://…`.
#[derive(Debug, Clone)]
pub struct Input {
    pub(crate) source: Source,
    kind: Kind,
    mode: Option<&'static str>,
}

#[derive(Debug, Clone)]
pub(crate) enum Source {
    Literal(String),
    Local(PathBuf),
    Address(String),
}

/// What an input may be registered as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Registered {
    Model,
    Data,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    File,
    Folder,
    Table,
    Model,
    MlflowModel,
    TritonModel,
}

impl Input {
    /// A value that is put into the command line as it is.
    pub fn literal(value: impl Display) -> Self {
        Self {
            source: Source::Literal(value.to_string()),
            kind: Kind::File,
            mode: None,
        }
    }

    /// A file.
    pub fn file(path_or_address: impl Into<String>) -> Self {
        Self::asset(path_or_address, Kind::File)
    }

    /// A folder.
    pub fn folder(path_or_address: impl Into<String>) -> Self {
        Self::asset(path_or_address, Kind::Folder)
    }

    /// A file or folder at an address, as it is: `azureml://…`, `wasbs://…`, `https://…`.
    pub fn uri(address: impl Into<String>) -> Self {
        let address = address.into();
        let kind = if address.ends_with('/') {
            Kind::Folder
        } else {
            Kind::File
        };
        Self {
            source: Source::Address(address),
            kind,
            mode: None,
        }
    }

    /// A table description (`MLTable`).
    pub fn table(path_or_address: impl Into<String>) -> Self {
        Self::asset(path_or_address, Kind::Table)
    }

    /// A model of any kind, e.g. `azureml:mnist:1`.
    pub fn model(path_or_address: impl Into<String>) -> Self {
        Self::asset(path_or_address, Kind::Model)
    }

    /// A model in MLflow's form.
    pub fn mlflow_model(path_or_address: impl Into<String>) -> Self {
        Self::asset(path_or_address, Kind::MlflowModel)
    }

    /// A model in Triton's form.
    pub fn triton_model(path_or_address: impl Into<String>) -> Self {
        Self::asset(path_or_address, Kind::TritonModel)
    }

    /// Copies to the job's disk before it starts, instead of mounting: better for many small files read often.
    #[must_use]
    pub fn download(mut self) -> Self {
        self.mode = Some("Download");
        self
    }

    /// Mounts read-only; what the service does anyway.
    #[must_use]
    pub fn mount(mut self) -> Self {
        self.mode = Some("ReadOnlyMount");
        self
    }

    /// Hands the address itself to the program.
    #[must_use]
    pub fn direct(mut self) -> Self {
        self.mode = Some("Direct");
        self
    }

    fn asset(path_or_address: impl Into<String>, kind: Kind) -> Self {
        let text = path_or_address.into();
        let is_address = text.contains("://")
            || text.starts_with("azureml:")
            || text.starts_with("/subscriptions/");
        let source = if is_address {
            Source::Address(text)
        } else {
            Source::Local(text.into())
        };
        Self {
            source,
            kind,
            mode: None,
        }
    }

    /// Whether one file is expected, rather than a folder.
    pub(crate) fn wants_file(&self) -> Option<bool> {
        match self.kind {
            Kind::File => Some(true),
            Kind::Folder | Kind::Table | Kind::MlflowModel | Kind::TritonModel => Some(false),
            Kind::Model => None,
        }
    }

    /// The kind of asset and the name of something that is registered in the workspace: `azureml:mnist:1`.
    pub(crate) fn registered(&self) -> Option<(Registered, &str)> {
        let Source::Address(address) = &self.source else {
            return None;
        };
        let name = address
            .strip_prefix("azureml:")
            .filter(|name| !name.starts_with('/'))?;
        let kind = match self.kind {
            Kind::Model | Kind::MlflowModel | Kind::TritonModel => Registered::Model,
            Kind::File | Kind::Folder | Kind::Table => Registered::Data,
        };
        Some((kind, name))
    }

    /// As the wire has it, once it is at `address`.
    pub(crate) fn to_wire(&self, address: &str) -> job::JobInput {
        if let Source::Literal(value) = &self.source {
            return job::JobInput::Literal(job::LiteralInput {
                description: None,
                value: value.clone(),
            });
        }
        let asset = job::AssetInput {
            description: None,
            uri: address.to_owned(),
            mode: self.mode.map(str::to_owned),
        };
        match self.kind {
            Kind::File => job::JobInput::UriFile(asset),
            Kind::Folder => job::JobInput::UriFolder(asset),
            Kind::Table => job::JobInput::Mltable(asset),
            Kind::Model => job::JobInput::CustomModel(asset),
            Kind::MlflowModel => job::JobInput::MlflowModel(asset),
            Kind::TritonModel => job::JobInput::TritonModel(asset),
        }
    }
}

/// Something that comes out of a job beside its folder `outputs`; the program writes to the path that stands for
/// `${{outputs.name}}`.
#[derive(Debug, Clone)]
pub struct Output {
    is_file: bool,
    address: Option<String>,
    register_as: Option<String>,
    mode: Option<&'static str>,
}

impl Output {
    /// A folder.
    pub fn folder() -> Self {
        Self {
            is_file: false,
            address: None,
            register_as: None,
            mode: None,
        }
    }

    /// A file.
    pub fn file() -> Self {
        Self {
            is_file: true,
            ..Self::folder()
        }
    }

    /// Where it goes, e.g. `azureml://datastores/workspaceblobstore/paths/models/`; the service chooses otherwise.
    #[must_use]
    pub fn to(mut self, address: impl Into<String>) -> Self {
        self.address = Some(address.into());
        self
    }

    /// Registers it as data under a name, with the next version, when the job ends well; `Input::folder("azureml:name")` gives it to
    /// another job.
    #[must_use]
    pub fn register_as(mut self, name: impl Into<String>) -> Self {
        self.register_as = Some(name.into());
        self
    }

    /// Uploads it when the program has ended, instead of mounting where it goes: better for many small files.
    #[must_use]
    pub fn upload(mut self) -> Self {
        self.mode = Some("Upload");
        self
    }

    /// Mounts where it goes; what the service does anyway.
    #[must_use]
    pub fn mount(mut self) -> Self {
        self.mode = Some("ReadWriteMount");
        self
    }

    pub(crate) fn to_wire(&self) -> job::JobOutput {
        let asset = job::AssetOutput {
            description: None,
            asset_name: self.register_as.clone(),
            uri: self.address.clone(),
            mode: self.mode.map(str::to_owned),
        };
        if self.is_file {
            job::JobOutput::UriFile(asset)
        } else {
            job::JobOutput::UriFolder(asset)
        }
    }
}

/// How the processes of a job on several nodes or devices find each other. They are started by the service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Distribution {
    /// `torch.distributed`'s variables, with this many processes on each node.
    PyTorch(u32),
    /// `mpirun`, with this many processes on each node.
    Mpi(u32),
}

impl Distribution {
    /// `torch.distributed`'s variables, with this many processes on each node.
    pub fn pytorch(processes_per_node: u32) -> Self {
        Self::PyTorch(processes_per_node)
    }

    /// `mpirun`, with this many processes on each node, which MPI joins, as it does the lab's training program. The local
    /// workspace runs them on one node, by the Open MPI that it finds on its `PATH`.
    pub fn mpi(processes_per_node: u32) -> Self {
        Self::Mpi(processes_per_node)
    }

    pub(crate) fn processes(self) -> u32 {
        match self {
            Self::PyTorch(processes) | Self::Mpi(processes) => processes,
        }
    }

    pub(crate) fn to_wire(self) -> job::Distribution {
        let count = job::ProcessCount {
            process_count_per_instance: Some(self.processes()),
        };
        match self {
            Self::PyTorch(_) => job::Distribution::PyTorch(count),
            Self::Mpi(_) => job::Distribution::Mpi(count),
        }
    }
}

//! Inputs, outputs and process distribution of jobs.

use azureml_wire::job;
use std::fmt::Display;
use std::path::PathBuf;

/// An input of a job, named in [`ScriptRunConfig::input`](crate::ScriptRunConfig::input). Its path
/// or value replaces `${{inputs.name}}` in the command line.
///
/// A file or folder is a path on this machine, which is uploaded at submit unless the workspace
/// already has the same content, or an address: `azureml://…`, `azureml:name:version`, `https://…`.
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

/// The type of asset that an input can be registered as.
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
    /// A literal value for the command line.
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

    /// A file or folder at an address, unchanged: `azureml://…`, `wasbs://…`, `https://…`.
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

    /// A model of any type, e.g. `azureml:mnist:1`.
    pub fn model(path_or_address: impl Into<String>) -> Self {
        Self::asset(path_or_address, Kind::Model)
    }

    /// A model in MLflow format.
    pub fn mlflow_model(path_or_address: impl Into<String>) -> Self {
        Self::asset(path_or_address, Kind::MlflowModel)
    }

    /// A model in Triton format.
    pub fn triton_model(path_or_address: impl Into<String>) -> Self {
        Self::asset(path_or_address, Kind::TritonModel)
    }

    /// Copies the input to the disk of the job before it starts, instead of mounting it. Faster for
    /// many small files that are read often.
    #[must_use]
    pub fn download(mut self) -> Self {
        self.mode = Some("Download");
        self
    }

    /// Mounts the input read-only, which is the default of the service.
    #[must_use]
    pub fn mount(mut self) -> Self {
        self.mode = Some("ReadOnlyMount");
        self
    }

    /// Passes the address itself to the program.
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

    /// Whether the input must be a file or a folder; `None` if it can be either.
    pub(crate) fn wants_file(&self) -> Option<bool> {
        match self.kind {
            Kind::File => Some(true),
            Kind::Folder | Kind::Table | Kind::MlflowModel | Kind::TritonModel => Some(false),
            Kind::Model => None,
        }
    }

    /// The asset type and the name of an asset that is registered in the workspace:
    /// `azureml:mnist:1`.
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

    /// Converts to the REST model, with the uploaded content at `address`.
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

/// An output of a job in addition to its folder `outputs`. The program writes to the path that
/// replaces `${{outputs.name}}`.
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

    /// Sets the address, e.g. `azureml://datastores/workspaceblobstore/paths/models/`. By default
    /// the service chooses one.
    #[must_use]
    pub fn to(mut self, address: impl Into<String>) -> Self {
        self.address = Some(address.into());
        self
    }

    /// Registers the output as data under a name, with the next version, when the job succeeds.
    /// Another job can use it as `Input::folder("azureml:name")`.
    #[must_use]
    pub fn register_as(mut self, name: impl Into<String>) -> Self {
        self.register_as = Some(name.into());
        self
    }

    /// Uploads the output when the program has ended, instead of mounting its destination. Faster
    /// for many small files.
    #[must_use]
    pub fn upload(mut self) -> Self {
        self.mode = Some("Upload");
        self
    }

    /// Mounts the destination, which is the default of the service.
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

/// How the processes of a job on several nodes or devices find each other. The service starts them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Distribution {
    /// The environment variables of `torch.distributed`, with this many processes on each node.
    PyTorch(u32),
    /// `mpirun`, with this many processes on each node.
    Mpi(u32),
}

impl Distribution {
    /// The environment variables of `torch.distributed`, with this many processes on each node.
    pub fn pytorch(processes_per_node: u32) -> Self {
        Self::PyTorch(processes_per_node)
    }

    /// `mpirun`, with this many processes on each node. The program must use MPI, as the training
    /// program of the lab does. The local workspace runs all processes on one node with the Open
    /// MPI on its `PATH`.
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

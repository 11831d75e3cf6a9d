//! The REST subset of Azure Machine Learning that the client and the local workspace share.

//! A local workspace: Azure Machine Learning's REST subset on loopback, with jobs run as processes.

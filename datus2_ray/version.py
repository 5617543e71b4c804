"""The version of the package; also where it was not installed, as in the working directory of a job."""

VERSION = "0.2.0"

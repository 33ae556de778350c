//! The lab: network namespaces, real clients and servers, and a paced traffic generator.

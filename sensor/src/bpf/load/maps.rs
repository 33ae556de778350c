//! The object's maps: taken out of it, each by its name.

use std::io;

use aya::{
    Ebpf, EbpfError,
    maps::{Map, MapData, MapError},
    util::nr_cpus,
};

use crate::bpf::{LoadError, capabilities};

/// Takes a map out of the object and checks that its layout is the one this build knows.
pub(in crate::bpf) fn typed<T>(
    object: &mut Ebpf,
    name: &'static str,
    make: impl FnOnce(MapData) -> io::Result<T>,
) -> Result<T, LoadError> {
    make(take(object, name)?).map_err(|source| refused_map(name, source))
}

pub(super) fn take(object: &mut Ebpf, name: &'static str) -> Result<MapData, LoadError> {
    let missing = || LoadError::Missing { kind: "map", name };
    let (Map::Array(data)
    | Map::ArrayOfMaps(data)
    | Map::HashMap(data)
    | Map::LruHashMap(data)
    | Map::LpmTrie(data)
    | Map::PerCpuArray(data)) = object.take_map(name).ok_or_else(missing)?
    else {
        return Err(missing());
    };
    Ok(data)
}

pub(in crate::bpf) fn refused_map(what: &str, source: io::Error) -> LoadError {
    LoadError::Map {
        what: what.to_owned(),
        source,
    }
}

pub(in crate::bpf) fn possible_cpus() -> Result<usize, LoadError> {
    nr_cpus().map_err(|(path, error)| LoadError::Object(format!("{path}: {error}")))
}

/// Why the object could not be loaded.
pub(super) fn refused(error: EbpfError) -> LoadError {
    if let EbpfError::MapError(MapError::CreateError { name, io_error }) = error {
        if io_error.raw_os_error() == Some(libc::EPERM) {
            return LoadError::Capabilities {
                missing: capabilities::explain_refusal(&[capabilities::BPF]),
            };
        }
        return refused_map(&format!("map `{name}`"), io_error);
    }
    LoadError::Object(error.to_string())
}

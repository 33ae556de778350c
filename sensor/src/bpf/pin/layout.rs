//! One number for the layouts of all maps: a pinned data plane with the same can be taken over.

use aya_obj::{EbpfSectionKind, Map, Object};
use sensor_ebpf::abi::VERSION;
use sha2::{Digest as _, Sha256};

/// What an object's maps are.
#[derive(Debug)]
pub(in super::super) struct Layout {
    /// The same for objects that can use one another's maps.
    pub(in super::super) number: u64,
    /// Names of the maps that can be pinned: all but the object's constants.
    pub(in super::super) names: Vec<String>,
}

/// The layout of `object` with `sizes` in the place of its maps' own numbers of entries.
///
/// Names, types, lengths and flags of all maps go into the number, and the version under which
/// the meaning of their contents goes; `ring_bytes` is the size of maps that the object does not
/// have.
pub(in super::super) fn layout(
    object: &[u8],
    sizes: &[(&str, u32)],
    ring_bytes: u32,
) -> Result<Layout, aya_obj::ParseError> {
    let object = Object::parse(object)?;
    let mut maps: Vec<_> = object
        .maps
        .into_iter()
        .filter(|(_, map)| map.section_kind() == EbpfSectionKind::BtfMaps)
        .collect();
    maps.sort_unstable_by(|(one, _), (other, _)| one.cmp(other));
    let mut digest = Sha256::new();
    digest.update(VERSION.to_le_bytes());
    digest.update(ring_bytes.to_le_bytes());
    for (name, map) in &maps {
        let size = sizes.iter().find(|(of, _)| of == name);
        digest.update(name.as_bytes());
        digest.update([0]);
        add(&mut digest, map, size.map(|(_, size)| *size));
        if let Some(inner) = map.inner() {
            add(&mut digest, &inner, None);
        }
    }
    let digest: [u8; 32] = digest.finalize().into();
    let mut number = [0; 8];
    number.copy_from_slice(&digest[..8]);
    Ok(Layout {
        number: u64::from_le_bytes(number),
        names: maps.into_iter().map(|(name, _)| name).collect(),
    })
}

fn add(digest: &mut Sha256, map: &Map, entries: Option<u32>) {
    for part in [
        map.map_type(),
        map.key_size(),
        map.value_size(),
        entries.unwrap_or_else(|| map.max_entries()),
        map.map_flags(),
    ] {
        digest.update(part.to_le_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::load::OBJECT;
    use super::*;

    #[test]
    fn sizes_change_the_number_and_nothing_else_does() {
        let number = |sizes: &[(&str, u32)], ring| {
            let layout = layout(OBJECT, sizes, ring).expect("an object");
            assert!(layout.names.iter().any(|name| name == "TOTALS"));
            layout.number
        };
        let first = number(&[("TOTALS", 4)], 1 << 20);
        assert_eq!(first, number(&[("TOTALS", 4)], 1 << 20));
        assert_ne!(first, number(&[("TOTALS", 8)], 1 << 20));
        assert_ne!(first, number(&[("TOTALS", 4)], 1 << 21));
    }
}

//! The one typed event that every output serialises, shaped as Suricata's EVE JSON.

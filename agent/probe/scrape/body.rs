//! The body of an answer, unpacked within its bound.

use std::io::Read;

use flate2::read::MultiGzDecoder;

/// What a look says of a page that is larger than it may be.
pub fn too_large(limit: usize) -> String {
    format!("the page is larger than {limit} bytes: expose less, or raise max_bytes")
}

/// The text of a body in this content encoding, at most `limit` bytes of it.
pub fn text(body: Vec<u8>, encoding: &str, limit: usize) -> Result<String, String> {
    let plain = match encoding.trim().to_ascii_lowercase().as_str() {
        "" | "identity" => body,
        "gzip" | "x-gzip" => unpack(&body, limit)?,
        other => return Err(format!("the page is packed as {other:.40}, and only gzip was asked for")),
    };
    if plain.len() > limit {
        return Err(too_large(limit));
    }
    String::from_utf8(plain)
        .map_err(|error| format!("the page is not UTF-8 from byte {} on", error.utf8_error().valid_up_to()))
}

/// Stops one byte over the limit, however much is packed.
fn unpack(packed: &[u8], limit: usize) -> Result<Vec<u8>, String> {
    let mut plain = Vec::with_capacity(packed.len().saturating_mul(4).min(limit));
    let unpacked = MultiGzDecoder::new(packed).take(limit as u64 + 1).read_to_end(&mut plain);
    unpacked.map_err(|error| format!("the page is not the gzip that it claims to be: {error}"))?;
    Ok(plain)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::GzEncoder;

    use super::*;

    fn packed(plain: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(plain).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn gzip_is_unpacked_up_to_the_limit() {
        assert_eq!(text(packed(b"a 1\n"), "GZIP", 4).unwrap(), "a 1\n");
        assert_eq!(text(packed(b"a 12\n"), "gzip", 4).unwrap_err(), too_large(4));
        let two = [packed(b"a 1\n"), packed(b"b 1\n")].concat();
        assert_eq!(text(two, "gzip", 8).unwrap(), "a 1\nb 1\n");
    }

    #[test]
    fn a_bomb_takes_no_more_than_the_limit() {
        let bomb = packed(&vec![b'a'; 64 << 20]);
        assert!(bomb.len() < 1 << 20);
        let limit = 1 << 20;
        assert_eq!(unpack(&bomb, limit).unwrap().len(), limit + 1);
    }

    #[test]
    fn what_cannot_be_read_is_told() {
        let cut = packed(b"a 1\nb 1\n");
        let error = text(cut[..cut.len() - 9].to_vec(), "gzip", 100).unwrap_err();
        assert!(error.starts_with("the page is not the gzip"), "{error}");
        assert!(text(b"a 1".to_vec(), "gzip", 100).is_err());
        assert_eq!(
            text(b"a 1".to_vec(), "br", 100).unwrap_err(),
            "the page is packed as br, and only gzip was asked for"
        );
        assert_eq!(text(b"a 1\n\xff".to_vec(), "", 100).unwrap_err(), "the page is not UTF-8 from byte 4 on");
        assert_eq!(text(b"a 1\n".to_vec(), "identity", 3).unwrap_err(), too_large(3));
    }
}

//! Explicit congestion notification through tunnels (RFC 6040).

use maps_schema::DropReason;

/// The two bits of a traffic class that are ECN (RFC 3168 section 5).
pub const MASK: u8 = 0b11;
const NOT_ECT: u8 = 0b00;
const ECT_1: u8 = 0b01;
const ECT_0: u8 = 0b10;
const CE: u8 = 0b11;

/// The traffic class that a packet leaves the tunnel with (RFC 6040 section 4.2). On the way in the
/// outer header simply has the inner one's (section 4.1, normal mode).
///
/// # Errors
/// [`DropReason::Congestion`] if the outer packet was marked and the inner one's sender would not
/// understand.
#[inline(always)]
pub const fn decapsulate(inner: u8, outer: u8) -> Result<u8, DropReason> {
    let mark = match (inner & MASK, outer & MASK) {
        (NOT_ECT, CE) => return Err(DropReason::Congestion),
        (NOT_ECT, _) => NOT_ECT,
        (_, CE) => CE,
        (ECT_0, ECT_1) => ECT_1,
        (inner, _) => inner,
    };
    Ok(inner & !MASK | mark)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn table_of_rfc_6040() {
        // Figure 4: rows are what arrives inside, columns what arrives outside.
        let outer = [NOT_ECT, ECT_0, ECT_1, CE];
        let dropped = Err(DropReason::Congestion);
        let table = [
            (NOT_ECT, [Ok(NOT_ECT), Ok(NOT_ECT), Ok(NOT_ECT), dropped]),
            (ECT_0, [Ok(ECT_0), Ok(ECT_0), Ok(ECT_1), Ok(CE)]),
            (ECT_1, [Ok(ECT_1), Ok(ECT_1), Ok(ECT_1), Ok(CE)]),
            (CE, [Ok(CE), Ok(CE), Ok(CE), Ok(CE)]),
        ];
        for (inner, expected) in table {
            for (outer, expected) in outer.into_iter().zip(expected) {
                assert_eq!(
                    decapsulate(inner, outer),
                    expected,
                    "{inner:02b} {outer:02b}"
                );
            }
        }
    }

    #[test]
    fn the_code_point_stays() {
        assert_eq!(decapsulate(0xb8, 0x02), Ok(0xb8));
        assert_eq!(decapsulate(0xba, 0x03), Ok(0xbb));
    }
}

use super::*;
use crate::admin::status::RangeStatus;

fn range(first: u16, last: u16, owner: &str) -> RangeStatus {
    RangeStatus { first, last, owners: vec![owner.into()] }
}

fn led(first: u16, last: u16, leader: Option<&str>) -> SlotRangeStatus {
    SlotRangeStatus { first, last, leader: leader.map(Into::into) }
}

fn member(name: &str, state: MemberState) -> MemberStatus {
    let none = String::new;
    MemberStatus {
        name: name.into(),
        id: name.to_uppercase(),
        state,
        peer: none(),
        client: none(),
        cluster_client: none(),
        admin: none(),
        zone: none(),
        weight: 1,
        shards: 1,
    }
}

/// Three nodes; one of them dead, with a part of its slots led by another, a part by nobody, and
/// a part of which the last that was heard is that it leads it.
fn view() -> RingView {
    let ranges = vec![range(0, 4095, "anna"), range(4096, 9215, "ben"), range(9216, 16383, "cleo")];
    let ring = RingReply { digest: "d".into(), ranges };
    let slots = vec![
        led(0, 4095, Some("anna")),
        led(4096, 5119, Some("anna")),
        led(5120, 6143, Some("stranger")),
        led(6144, 7167, Some("ben")),
        led(7168, 9215, None),
        led(9216, 16383, Some("cleo")),
    ];
    let members = [
        member("anna", MemberState::Alive),
        member("ben", MemberState::Dead),
        member("cleo", MemberState::Alive),
    ];
    let keys = |member: &MemberStatus| (member.name != "ben").then_some(1234);
    RingView { nodes: shares(&ring, &slots, &members, keys), ring, slots }
}

fn drawn(columns: usize, coloured: bool) -> String {
    let mut out = Vec::new();
    draw(&view(), columns, coloured, &mut out).unwrap();
    String::from_utf8(out).unwrap()
}

#[test]
fn the_picture_is_as_it_was() {
    let expected = "     0  AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA
  1024  AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA
  2048  AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA
  3072  AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA
  4096  bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb
  5120  !!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!
  6144  !!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!
  7168  ................................
  8192  ................................
  9216  CCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCC
 10240  CCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCC
 11264  CCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCC
 12288  CCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCC
 13312  CCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCC
 14336  CCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCC
 15360  CCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCC
        +0      +256    +512    +768
  a letter is the node that should lead 32 slots, small where another does;
  ! where their leader does not answer, . where nobody leads them

   NODE  STATE  SHARE    SLOTS LED  KEYS
A  anna  alive  25.00 %  5120       1234
B  ben   dead   31.25 %  1024       -
C  cleo  alive  43.75 %  7168       1234
";
    assert_eq!(drawn(40, false), expected);
}

#[test]
fn a_cell_shows_what_most_of_its_slots_are() {
    let ring = [range(0, 99, "a"), range(100, 16383, "b")];
    let all = [led(0, 16383, Some("b"))];
    let nodes = [("a", MemberState::Alive), ("b", MemberState::Alive)];
    let mut out = Vec::new();
    Picture::of(&ring, &all, &nodes).draw(16 + 8, false, &mut out).unwrap();
    let first = String::from_utf8(out).unwrap();
    // 64 slots to a cell: all of the first are a's, 36 of the second.
    assert!(first.starts_with("     0  aaBBBBBBBBBBBBBB\n"), "{first}");
}

#[test]
fn whoever_does_not_answer_has_no_letter_for_what_it_leads() {
    let first = |state, owner: &str| {
        let nodes = [("a", MemberState::Alive), ("b", state)];
        let picture = Picture::of(&[range(0, 16383, owner)], &[led(0, 16383, Some("b"))], &nodes);
        let mut out = Vec::new();
        picture.draw(24, false, &mut out).unwrap();
        String::from_utf8(out).unwrap().chars().nth(8).unwrap()
    };
    for state in [MemberState::Joining, MemberState::Alive, MemberState::Leaving] {
        assert_eq!((first(state, "a"), first(state, "b")), ('a', 'B'), "{state:?}");
    }
    for state in [MemberState::Suspect, MemberState::Dead, MemberState::Left] {
        assert_eq!((first(state, "a"), first(state, "b")), ('!', '!'), "{state:?}");
    }
}

/// Each mark of the scale is below the cell that has the slot it names, and within the picture.
#[test]
fn the_scale_fits_the_picture() {
    for columns in [0, 24, 30, 41, 80, 132, 211, 5000] {
        let text = drawn(columns, false);
        let cells = columns.clamp(24, 8 + 1024) - 8;
        let scale = text.lines().nth(16).unwrap();
        assert!(scale.starts_with("        +0  ") && scale.len() <= 8 + cells, "{scale}");
        for (column, _) in scale.match_indices('+') {
            let slot: usize = scale[column + 1..].split(' ').next().unwrap().parse().unwrap();
            let of_cell = |cell: usize| cell * 1024 / cells;
            let cell = column - 8;
            assert!((of_cell(cell)..of_cell(cell + 1)).contains(&slot), "{columns}: {scale}");
        }
    }
    assert!(drawn(80, false).contains("\n  a letter is the node that should lead about 14 slots,"));
}

#[test]
fn rows_fit_the_terminal_however_wide() {
    for columns in [0, 24, 80, 211, 5000] {
        let text = drawn(columns, false);
        let widths = text.lines().take(16).map(str::len);
        let fits = columns.clamp(24, 8 + 1024);
        assert!(widths.clone().all(|width| width == fits), "{columns}: {:?}", widths.max());
    }
}

#[test]
fn colours_begin_and_end_in_each_row() {
    for line in drawn(80, true).lines().take(16) {
        assert!(line.ends_with("\x1b[0m"), "{line:?}");
    }
    assert!(!drawn(80, false).contains('\x1b'));
}

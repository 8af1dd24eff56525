//! What the programs ask of a kernel: how long they are, how much stack they take, and how many
//! instructions the verifier follows before it believes them. The figures are kept in
//! `ebpf/figures.toml`, so that a change that moves them says so.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{self, Display, Formatter};

use aya::EbpfLoader;
use aya::programs::Program;
use aya_obj::generated::{BPF_PSEUDO_CALL, BPF_PSEUDO_FUNC, bpf_insn};
use bowline::kernel::capability::KernelVersion;
use bowline::kernel::object::Object;
use integration::lab::{is_usable, skip};

const WRITTEN: &str = include_str!("../../../../ebpf/figures.toml");
/// A figure may move by one part in this many: what a small change or another compiler of the
/// same series does is not worth a line in a diff.
const TOLERANCE: u64 = 50;

/// The variable by which `cargo xtask figures` asks for the figures, whatever is written.
const PRINT: &str = "BOWLINE_FIGURES";

/// The codes of instructions that are looked at (RFC 9669).
const CALL: u8 = 0x85;
const LOAD_IMMEDIATE: u8 = 0x18;
const MOVE: u8 = 0xbf;
const ADD_IMMEDIATE: u8 = 0x07;
/// The classes of instructions that read or write memory.
const LOAD: u8 = 0x01;
const STORE_IMMEDIATE: u8 = 0x02;
const STORE: u8 = 0x03;
/// The register that points to the end of a function's stack.
const FRAME_POINTER: u8 = 10;

/// A figure: the program that it is about, and what it counts.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Name {
    program: String,
    what: String,
}

impl Display for Name {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.program, self.what)
    }
}

type Figures = BTreeMap<Name, u64>;

/// The compiler that an object is from.
fn compiler() -> String {
    const MARK: &[u8] = b"rustc version ";
    let object = Object::embedded().unwrap();
    let bytes = object.bytes();
    let at = bytes.windows(MARK.len()).position(|word| word == MARK);
    let rest = &bytes[at.expect("the object says what made it") + MARK.len()..];
    let version = rest.iter().take_while(|byte| !byte.is_ascii_whitespace());
    String::from_utf8(version.copied().collect()).unwrap()
}

/// The series of the running kernel, and what its verifier has followed of each program.
fn verified() -> Figures {
    let kernel = KernelVersion::running().unwrap().to_string();
    let series = kernel.split('.').take(2).collect::<Vec<_>>().join(".");
    let object = Object::embedded().unwrap();
    let mut loaded = EbpfLoader::new().load(object.bytes()).unwrap();
    let programs = loaded.programs_mut();
    let figures = programs.map(|(name, program)| {
        let info = match program {
            Program::SchedClassifier(program) => {
                program.load().unwrap();
                program.info().unwrap()
            }
            Program::Xdp(program) => {
                program.load().unwrap();
                program.info().unwrap()
            }
            other => panic!("{name} is a {:?}", other.prog_type()),
        };
        let count = info.verified_instruction_count();
        let name = Name {
            program: name.to_owned(),
            what: format!("linux-{series}"),
        };
        (name, count.expect("Linux 5.16 and later say").into())
    });
    figures.collect()
}

/// What can be read off the object.
fn built() -> Figures {
    let object = Object::embedded().unwrap();
    let mut object = aya_obj::Object::parse(object.bytes()).unwrap();
    let sections = object.functions.keys().map(|(section, _)| *section);
    let sections = sections.collect();
    object.relocate_calls(&sections).unwrap();
    let mut figures = Figures::new();
    for (program, place) in &object.programs {
        let code = &object.functions[&place.function_key()].instructions;
        let mut add = |what: &str, figure| {
            let (program, what) = (program.clone(), what.to_owned());
            figures.insert(Name { program, what }, figure);
        };
        add("instructions", code.len() as u64);
        add("stack", stack(code));
    }
    figures
}

/// The bytes of stack that the longest chain of calls takes, as Linux 6.1 counts them: each
/// function's rounded up to 32 (`check_max_stack_depth` of the verifier).
fn stack(code: &[bpf_insn]) -> u64 {
    let calls: Vec<(usize, usize)> = (0..code.len()).filter_map(|at| call(code, at)).collect();
    let starts: BTreeSet<usize> = calls.iter().map(|(_, to)| *to).chain([0]).collect();
    deepest(code, &calls, &starts, 0)
}

/// The function that an instruction calls, or gives to a helper to call.
fn call(code: &[bpf_insn], at: usize) -> Option<(usize, usize)> {
    let instruction = code[at];
    let is_call = match instruction.code {
        CALL => u32::from(instruction.src_reg()) == BPF_PSEUDO_CALL,
        LOAD_IMMEDIATE => u32::from(instruction.src_reg()) == BPF_PSEUDO_FUNC,
        _ => false,
    };
    let to = at.checked_add_signed(instruction.imm as isize + 1)?;
    is_call.then_some((at, to))
}

fn deepest(
    code: &[bpf_insn],
    calls: &[(usize, usize)],
    starts: &BTreeSet<usize>,
    start: usize,
) -> u64 {
    let end = starts.range(start + 1..).next().copied();
    let end = end.unwrap_or(code.len());
    let own = own_stack(&code[start..end]).max(1).next_multiple_of(32);
    let inside = calls.iter().filter(|(at, _)| (start..end).contains(at));
    let callees: BTreeSet<usize> = inside.map(|(_, to)| *to).collect();
    let below = callees
        .into_iter()
        .map(|to| deepest(code, calls, starts, to));
    own + below.max().unwrap_or(0)
}

/// The lowest place below the frame pointer that a function uses or takes the address of.
fn own_stack(code: &[bpf_insn]) -> u64 {
    let pairs = code.iter().zip(code.iter().skip(1));
    let taken = pairs.filter_map(|(copy, add)| {
        let is_address = copy.code == MOVE
            && copy.src_reg() == FRAME_POINTER
            && add.code == ADD_IMMEDIATE
            && add.dst_reg() == copy.dst_reg();
        is_address.then_some(i64::from(add.imm))
    });
    let used = code.iter().filter_map(|instruction| {
        let base = match instruction.code & 0x07 {
            LOAD => instruction.src_reg(),
            STORE | STORE_IMMEDIATE => instruction.dst_reg(),
            _ => return None,
        };
        (base == FRAME_POINTER).then_some(i64::from(instruction.off))
    });
    taken.chain(used).min().unwrap_or(0).unsigned_abs()
}

/// The figures of the file, and the compiler that they are for.
fn written() -> (String, Figures) {
    let mut compiler = String::new();
    let mut figures = Figures::new();
    let mut program = String::new();
    for line in WRITTEN.lines() {
        if let Some(name) = line.strip_prefix('[') {
            program = name.trim_end_matches(']').to_owned();
        } else if let Some((what, value)) = line.split_once(" = ") {
            if what == "compiler" {
                compiler = value.trim_matches('"').to_owned();
                continue;
            }
            let (program, what) = (program.clone(), what.trim_matches('"').to_owned());
            figures.insert(Name { program, what }, value.parse().expect(line));
        }
    }
    (compiler, figures)
}

fn is_near(measured: u64, written: u64) -> bool {
    measured.abs_diff(written) * TOLERANCE <= written
}

#[test]
fn are_as_written() {
    if !is_usable() {
        return;
    }
    if std::env::var_os(PRINT).is_some() {
        println!("figure: compiler {}", compiler());
        for (name, figure) in built().into_iter().chain(verified()) {
            println!("figure: {name} {figure}");
        }
        return;
    }
    let (made_by, written) = written();
    if made_by != compiler() {
        let own = compiler();
        skip(&format!(
            "ebpf/figures.toml is for rustc {made_by}, not {own}"
        ));
        return;
    }
    let verified = verified();
    if !verified.keys().any(|name| written.contains_key(name)) {
        skip("ebpf/figures.toml has no figures for this kernel");
        return;
    }
    let mut moved = String::new();
    for (name, measured) in built().into_iter().chain(verified) {
        let written = written.get(&name).copied();
        if !written.is_some_and(|written| is_near(measured, written)) {
            let written = written.map_or("nothing".to_owned(), |figure| figure.to_string());
            moved += &format!("\n  {name}: {measured}, and {written} is written");
        }
    }
    assert!(
        moved.is_empty(),
        "the programs have moved:{moved}\nif that is meant, `cargo xtask figures` writes it down"
    );
}

#[test]
fn the_stack_of_a_chain_is_that_of_its_functions() {
    let instruction = |code, dst: u8, src: u8, off, imm| bpf_insn {
        code,
        _bitfield_align_1: [],
        _bitfield_1: bpf_insn::new_bitfield_1(dst, src),
        off,
        imm,
    };
    const EXIT: u8 = 0x95;
    let code = [
        // 40 bytes, by a store; a call of what begins at 4, and a function at 6 for a helper.
        instruction(0x7b, 10, 1, -40, 0),
        instruction(CALL, 0, 1, 0, 2),
        instruction(LOAD_IMMEDIATE, 1, 4, 0, 3),
        instruction(EXIT, 0, 0, 0, 0),
        // 8 bytes, by a load.
        instruction(0x79, 1, 10, -8, 0),
        instruction(EXIT, 0, 0, 0, 0),
        // 100 bytes, by an address.
        instruction(MOVE, 2, 10, 0, 0),
        instruction(ADD_IMMEDIATE, 2, 0, 0, -100),
        instruction(EXIT, 0, 0, 0, 0),
    ];
    assert_eq!(stack(&code), 64 + 128);
}

//! Two runs beside each other.

use crate::report::Report;

/// Prints every figure that both runs have. A mark is at those whose middle halves have nothing in
/// common: what is within them is as well the machine's mood.
pub(crate) fn print(old: &Report, new: &Report) {
    println!("\nold: {}, {} rounds", old.machine, old.rounds);
    println!("new: {}, {} rounds", new.machine, new.rounds);
    let (before, after) = (old.figures(), new.figures());
    for (name, (new, unit)) in &after {
        let Some((old, _)) = before.get(name) else {
            continue;
        };
        let ratio = new.median / old.median;
        let mark = if new.meets(old) { ' ' } else { '*' };
        let words: Vec<_> = name
            .iter()
            .filter(|word| !word.is_empty())
            .copied()
            .collect();
        let name = words.join(", ");
        println!(
            "{mark} x{ratio:.2}  {} -> {} {unit}  {name}",
            old.short(),
            new.short()
        );
    }
    let missing = before
        .keys()
        .filter(|name| !after.contains_key(*name))
        .count();
    println!("* the quartiles do not meet; {missing} figures of the old run were not measured");
}

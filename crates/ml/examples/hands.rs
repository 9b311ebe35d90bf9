//! What `@letters` looks like: `hands [LETTER] [SEED]` prints a letter as each hand writes it.
//! It shows the first drawing of each hand among those that become rows.
//! It does not know what is measured of them.

use std::collections::BTreeSet;

use convoke_ml::letters;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let letter = arguments.first().map_or(Ok('A'), |text| text.to_ascii_uppercase().parse())?;
    let seed = arguments.get(1).map_or(Ok(0), |text| text.parse())?;
    let mut seen = BTreeSet::new();
    for drawing in letters::drawings(seed).take(20_000).filter(|drawing| char::from(b'A' + drawing.label) == letter) {
        if seen.insert(drawing.hand) {
            println!("{}\n{}", drawing.hand, drawing.picture);
        }
    }
    Ok(())
}

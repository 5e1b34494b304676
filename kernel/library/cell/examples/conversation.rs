//! A program for the test `conversation`: it does one thing of this crate for each word of its command line.

use tunebook_cell as tunebook;

fn main() -> tunebook::Result<()> {
    for word in std::env::args().skip(1) {
        match word.as_str() {
            "unfinished" => print!("unfinished"),
            "debug" => tunebook::display(&vec![1, 2]),
            "bundle" => {
                let bundle = tunebook::Bundle::new().html("<b>\n</b>").png([1, 2]).text("b");
                tunebook::display(&bundle.metadata("image/png", tunebook::serde_json::json!({ "width": 2 })));
            }
            "id" => tunebook::display_id("loss", &0.5).update(&0.25),
            "handle" => tunebook::display_handle(&1).update(&2),
            "clear" => tunebook::clear_output(true),
            "progress" => drop(tunebook::progress(0..3).with_label("three").count()),
            "broken" => drop(tunebook::progress(0..4).find(|n| *n == 2)),
            "slow" => {
                for _ in tunebook::progress(0..30) {
                    std::thread::sleep(std::time::Duration::from_millis(10));
                }
            }
            "input" => println!("got {}", tunebook::input("Name: ")?),
            "password" => println!("got {}", tunebook::password("Secret: ")?),
            "magic" => println!("got {}", tunebook::magic("%axis depth")?),
            "study" => println!("got {:?}", tunebook::study("depth")?),
            "value" => tunebook::Html("<i>").evcxr_display(),
            // Sixteen questions and displays at a time.
            "threads" => std::thread::scope(|scope| {
                for n in 0..16 {
                    scope.spawn(move || {
                        let text = format!("%echo {n} {}", "x".repeat(100_000));
                        tunebook::display(&text);
                        match tunebook::magic(&text) {
                            Ok(answer) if answer == text.as_str() => {}
                            other => eprintln!("not the answer to {n}: {other:?}"),
                        }
                    });
                }
            }),
            other => eprintln!("{other}?"),
        }
    }
    Ok(())
}

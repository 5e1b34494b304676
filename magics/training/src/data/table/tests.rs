use super::*;
use crate::data::Data;
use tch::Kind;

fn values(tensor: &Tensor) -> Vec<f64> {
    Vec::try_from(tensor.to_kind(Kind::Double).flatten(0, -1)).unwrap()
}

fn error(table: Result<impl Sized>) -> String {
    format!("{:#}", table.err().expect("an error"))
}

#[test]
fn what_spreadsheets_write_is_read() {
    let rows = "a;b;class\r\n1,5;x;yes\r\n2;y;no\r\n";
    let latin = rows.replace('x', "\u{e9}").chars().map(|c| c as u8).collect::<Vec<_>>();
    let marked = format!("\u{feff}{rows}").into_bytes();
    let wide: Vec<u8> = std::iter::once(0xfeff).chain(rows.encode_utf16()).flat_map(u16::to_le_bytes).collect();
    for bytes in [rows.as_bytes().to_vec(), marked, wide, latin, rows.replace(';', "\t").into_bytes()] {
        let examples = Table::from_bytes(&bytes, "t.csv").unwrap().classify("class").unwrap();
        assert_eq!(examples.inputs.size(), [2, 3]);
        assert_eq!(values(&examples.inputs.select(1, 0)), [1.5, 2.0]);
        assert_eq!(values(&examples.targets), [1.0, 0.0]);
    }
    let spaced = Table::parse("a , class\n 1 , \"x, y\"\n\n2, z\n").unwrap();
    assert_eq!(spaced.classify("class").unwrap().count(), 2);
}

#[test]
fn separators_and_numbers_follow_from_the_whole_table() {
    let first = |text: &str, target: &str| {
        let examples = Table::parse(text).unwrap().regress(target).unwrap();
        (values(&examples.inputs.get(0)), examples.encoding().unwrap().description.join("\n"))
    };
    // Commas in names and numbers, as often in each line as in the first.
    assert_eq!(first("Preis, EUR;Menge;y\n1,5;2;1\n2,5;3;2", "y").0, [1.5, 2.0]);
    assert_eq!(first("sep=|\na;b|y\n1|2\n2|3", "y").0, [1.0]);
    // With decimal commas elsewhere in the table, points group digits.
    let (inputs, told) = first("a;b;y\n1.234;1,5;1\n2.500;2,25;2", "y");
    assert_eq!(inputs, [1234.0, 1.5]);
    assert!(told.contains("Numbers have decimal commas"), "{told}");
    assert_eq!(first("a;b;y\n1,234;1.5;1\n2,500;2.25;2", "y").0, [1234.0, 1.5]);
    let (inputs, told) = first("a,b,y\n\"$1,200\",12%,1\n$3,5%,2", "y");
    assert_eq!(inputs, [1200.0, 12.0]);
    assert!(told.contains("`a`: each value has a `$`"), "{told}");
    // A separator ends each line.
    let (inputs, told) = first("a,empty,y,\n1,,1,\n2,,2,\n", "y");
    assert_eq!(inputs, [1.0]);
    assert!(told.contains("`empty` has no value in any row") && told.contains("1 column without a name"), "{told}");
    let dropped = Table::parse("a,empty,y\n1,,1\n,,2\n3,,3").unwrap().drop_missing().regress("y").unwrap();
    assert_eq!(values(&dropped.inputs), [1.0, 3.0]);
    let quoted = Table::parse("w,y\n\"a \"\"b\"\", c\",1\n5\" disk,2\n").unwrap().regress("y").unwrap();
    assert_eq!(quoted.encoding().unwrap().feature_names(), ["w=5\" disk", "w=a \"b\", c"]);
    // Windows-1252 has the euro sign where Latin-1 has a control character.
    let price = Table::from_bytes(b"\x80;y\n1;1\n2;2", "t.csv").unwrap().regress("y").unwrap();
    assert_eq!(price.encoding().unwrap().feature_names(), ["€"]);
}

#[test]
fn what_a_model_needs_of_its_data_is_kept_in_a_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("data.safetensors");
    let all = Table::parse("a;w;y\n1,5;red;10\n3;blue;30\n5;red;50\n").unwrap().regress("y").unwrap();
    let data = Data::new(all.first(2), all.narrow(2, 1)).standardized().standardized_targets();
    data.keep(&path).unwrap();
    let kept = Data::kept(&path).unwrap().unwrap();
    // Alone, 1,500 could be one and a half or 1500; the table of the model had decimal commas.
    let new = Table::parse("w;a\nred;1,500\n").unwrap();
    assert_eq!(values(&kept.encode(&new).unwrap().get(0)), values(&data.train.inputs.get(0)));
    let numbers = |data: &Data| data.decode(&Tensor::from_slice(&[0.5f32]).view([1, 1])).unwrap().numbers;
    assert_eq!(numbers(&kept), numbers(&data));
    std::fs::remove_file(&path).unwrap();
    Data::new(Examples::new(all.inputs.copy(), all.targets.copy()).unwrap(), all.first(1)).keep(&path).unwrap();
    assert!(Data::kept(&path).unwrap().is_none());
}

#[test]
fn targets_that_a_model_cannot_start_from_are_told_of() {
    let data = |scale: f64| {
        let rows: String = (0..4).map(|i| format!("{i},{}\n", f64::from(i) * scale)).collect();
        let all = Table::parse(&format!("a,y\n{rows}")).unwrap().regress("y").unwrap();
        Data::new(all.first(3), all.narrow(3, 1))
    };
    let far = data(1e5).advice_on_targets().unwrap();
    assert!(
        far.contains("the mean 100000 and the deviation 81650") && far.contains(".standardized_targets()"),
        "{far}"
    );
    assert_eq!(data(1.0).advice_on_targets(), None);
    let standardized = data(1e5).standardized_targets();
    assert_eq!(standardized.advice_on_targets(), None);
    assert!(standardized.description().join("\n").contains("the mean 100000 and"), "{:?}", standardized.description());
    let classes = Table::parse("a,y\n1,p\n2,q\n").unwrap().classify("y").unwrap();
    let data = Data::new(classes.first(2), classes.first(1));
    assert_eq!(data.advice_on_targets(), None);
    assert!(error(data.standardized_targets().checked()).contains("the targets are classes"));
}

#[test]
fn mistakes_name_the_line_and_what_to_do() {
    for (text, parts) in [
        ("", vec!["is empty"]),
        ("1,2,3\n4,5,6", vec!["holds numbers (1, 2, 3)", "add a line with names"]),
        ("a,b,a\n1,2,3", vec!["names `a` twice", "columns 1 and 3"]),
        ("a,b\r\n1,2\r\n3\r\n", vec!["line 3 of the text has 1 fields", "names 2 columns"]),
        ("a,b\n", vec!["no rows"]),
    ] {
        let error = error(Table::parse(text));
        assert!(parts.iter().all(|part| error.contains(part)), "{error}");
    }
    for (text, parts) in [
        ("5.1,3.5,setosa\n4.9,3.0,setosa", vec!["first line of the text holds values (5.1, 3.5, setosa)"]),
        ("39,Private,Male\n50,Self,Male\n38,Private,Female", vec!["holds values (39, Private, Male)"]),
        ("p,x,x\np,x,n\ne,x,n", vec!["holds values (p, x, x)"]),
        ("a,b\n1,\"x\n2,y\n3,z\n", vec!["double quote that begins a field in line 2", "never closed"]),
        ("a,b\n\n\n1,2\n\n3\n", vec!["line 6 of the text has 1 fields"]),
        ("a,b\n\"1\n1\",2\n3\n", vec!["line 4 of the text has 1 fields"]),
        ("mpg cyl hp\n18 8 130\n15  8 165", vec!["separated by spaces"]),
        ("PK\u{3}\u{4}x", vec!["a workbook of a spreadsheet"]),
        ("a\0b", vec!["no text"]),
    ] {
        let error = error(Table::parse(text));
        assert!(parts.iter().all(|part| error.contains(part)), "{error}");
    }
    for (text, parts) in [
        ("a,y\n1,x\n2,z\n?,x", vec!["`a` (1 row, the first in line 4)", ".drop_missing()"]),
        ("a,y\n1,x\n2,z\n12k,x", vec!["`12k` in line 4", ".numeric(\"a\")?", ".words(\"a\")?"]),
        ("a;y\n1,234;x\n2,345;z", vec!["can be 1234 or 1.234"]),
        ("a,y\n1,\n2,NA", vec!["no row with a value of `y`"]),
        ("a,y\n1,x\n2,x", vec!["same value in all rows"]),
        ("y\nx\nz", vec!["no columns beside the target"]),
        ("a,z\n1,2\n3,4", vec!["has no column `y`; it has a, z"]),
    ] {
        let error = error(Table::parse(text).unwrap().classify("y"));
        assert!(parts.iter().all(|part| error.contains(part)), "{error}");
    }
    assert!(
        error(Table::parse("a,y\n1,x\n2,z").unwrap().regress("y")).contains("`x` stands in the column `y` of line 2")
    );
    assert!(error(Table::parse("a,y\n1,2").unwrap().without("b")).contains("no column `b`"));
}

#[test]
fn missing_values_are_dropped_or_filled_and_missing_labels_are_no_class() {
    let table = || Table::parse("a,w,y\n1,red,p\nNaN,blue,q\n4,,p\n6,red,?\n").unwrap();
    let dropped = table().drop_missing().classify("y");
    assert!(error(dropped).contains("same value in all rows"));
    let filled = table().fill_missing(Fill::Mean).classify("y").unwrap();
    // The row without a label is left out before the mean is taken.
    assert_eq!(values(&filled.inputs.select(1, 0)), [1.0, 2.5, 4.0]);
    assert_eq!(values(&filled.inputs.select(0, 2)), [4.0, 0.0, 0.0], "a missing word is none of the words");
    assert_eq!(values(&table().fill_missing(7.0).classify("y").unwrap().inputs.select(1, 0)), [1.0, 7.0, 4.0]);
    let text = filled.encoding().unwrap().description.join("\n");
    for part in
        ["3 rows", "Numbers: a.", "w (2 words)", "0 = p (2 rows), 1 = q (1 row)", "1 row without a value of `y`"]
    {
        assert!(text.contains(part), "{text}");
    }
}

#[test]
fn columns_are_chosen_and_their_kind_can_be_said() {
    let table = || Table::parse("id,code,x,y\n1,7,1,0.5\n2,8,n.a.,1.5\n3,7,3,2.5\n").unwrap();
    let words = table().only(["code", "y"]).unwrap().words("code").unwrap().regress("y").unwrap();
    assert_eq!(words.inputs.size(), [3, 2]);
    let told = words.encoding().unwrap().description.join("\n");
    assert!(told.contains("Words: code (2 words).") && told.contains("Left out: id, x."), "{told}");
    let numbers = table().numeric("x").unwrap().drop_missing().without(["id", "code"]).unwrap().regress("y").unwrap();
    assert_eq!((values(&numbers.inputs), values(&numbers.targets)), (vec![1.0, 3.0], vec![0.5, 2.5]));
    let many: String = (1..=8).map(|i| format!("{i},{}\n", f64::from(i).sqrt())).collect();
    let told = Table::parse(&format!("row,y\n{many}")).unwrap().regress("y").unwrap();
    assert!(told.encoding().unwrap().description.iter().any(|line| line.contains("another value in each row")));
    let ids: String =
        (1..=30).map(|i| format!("{},{},{}\n", i * 7919 % 1000, i * 3 % 7, f64::from(i).sqrt())).collect();
    let told = Table::parse(&format!("customer,rooms,y\n{ids}")).unwrap().regress("y").unwrap();
    let told = told.encoding().unwrap().description.join("\n");
    assert!(
        told.contains("`customer` has another whole number in each row") && !told.contains("`rooms` has"),
        "{told}"
    );
}

#[test]
fn constant_features_are_divided_by_one() {
    let examples = |rows: &str| Table::parse(&format!("a,w,y\n{rows}")).unwrap().classify("y").unwrap();
    let all = examples("1,red,p\n3,red,q\n5,blue,p\n");
    let data = Data::new(all.narrow(0, 2), all.narrow(2, 1)).standardized();
    // Only the validation part has the word `blue`.
    assert_eq!(values(&data.valid.inputs.select(1, 1)), [1.0]);
    assert_eq!(values(&data.valid.inputs.select(1, 2)), [-1.0]);
    assert!(data.description().join("\n").contains("they teach nothing: w=blue, w=red"), "{:?}", data.description());
}

#[test]
fn new_rows_are_encoded_and_outputs_decoded_as_the_data_were() {
    let all = Table::parse("a,w,y\n1,red,10\n3,blue,30\n5,red,50\n").unwrap().regress("y").unwrap();
    let data = Data::new(all.first(2), all.narrow(2, 1)).standardized().standardized_targets();
    let new = Table::parse("w,a\nblue,3\ngreen,1\n").unwrap();
    let inputs = data.encode(&new).unwrap();
    assert_eq!(values(&inputs.get(0)), values(&data.train.inputs.get(1)));
    let numbers = data.decode(&data.train.targets).unwrap().numbers;
    assert!(numbers.iter().zip([10.0, 30.0]).all(|(a, b)| (a - b).abs() < 1e-4), "{numbers:?}");
    let classes = Table::parse("a,y\n1,p\n2,q\n").unwrap().classify("y").unwrap();
    let data = Data::new(classes.first(2), classes.first(1));
    let decoded = data.decode(&Tensor::from_slice(&[0.0f32, 1.0, 2.0, 1.0]).view([2, 2])).unwrap();
    assert_eq!(
        (decoded.classes, decoded.class_names),
        (vec!["q".to_string(), "p".into()], vec!["p".into(), "q".into()])
    );
}

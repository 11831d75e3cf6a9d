//! Errors of the programs: one line with the error, one with the hint, and exit code 1.

use std::{
    fs,
    path::Path,
    process::{Command, Output},
};

use insta::assert_snapshot;

use crate::{PREDICT, TRAIN, TRAINED, idx, packed, run, small_data, stderr, stdout, train};

/// Returns the error without the path of `folder`.
fn error(output: &Output, folder: &Path) -> String {
    assert_eq!(output.status.code(), Some(1), "{}", stderr(output));
    stderr(output).replace(&folder.display().to_string(), "[folder]")
}

/// Trains in a folder with data that `damage` has corrupted.
fn train_with(damage: impl FnOnce(&Path)) -> String {
    let folder = tempfile::tempdir().expect("a folder");
    small_data(folder.path());
    damage(&folder.path().join("data"));
    let output = train(folder.path(), &["--dry-run", "--epochs", "1"]);
    assert!(
        !folder.path().join("outputs").exists(),
        "nothing is left behind"
    );
    error(&output, folder.path())
}

#[test]
fn no_data_at_all() {
    let folder = tempfile::tempdir().expect("a folder");
    assert_snapshot!(error(&train(folder.path(), &[]), folder.path()), @r"
    error: found no MNIST data in data, ../data, notebooks/02-train-model/data
    hint: name the folder of the four MNIST files with --data (the lab's own is notebooks/02-train-model/data)
    ");
    let output = train(folder.path(), &["--data", "elsewhere"]);
    assert_snapshot!(error(&output, folder.path()), @r"
    error: the folder elsewhere has neither train-images-idx3-ubyte nor train-images-idx3-ubyte.gz
    hint: --data must name the folder of MNIST's four IDX files, unpacked or .gz
    ");
}

#[test]
fn a_truncated_file() {
    let text = train_with(|data| {
        let path = data.join("train-images-idx3-ubyte");
        let bytes = fs::read(&path).expect("a file");
        fs::write(&path, &bytes[..1_000_000]).expect("a file");
    });
    assert_snapshot!(text, @r"
    error: data/train-images-idx3-ubyte is not usable: it is truncated: 3136000 bytes should follow its header, 999984 do
    hint: get the file again; `sha256sum -c SHA256SUMS` in notebooks/02-train-model/data tells whether the lab's own are whole
    ");
}

#[test]
fn a_truncated_archive() {
    let text = train_with(|data| {
        let path = data.join("train-labels-idx1-ubyte.gz");
        let bytes = fs::read(&path).expect("a file");
        fs::write(&path, &bytes[..bytes.len() / 2]).expect("a file");
    });
    // The position at which the decoder stops depends on its blocks.
    let text = text.replace(|character: char| character.is_ascii_digit(), "0");
    assert!(text.starts_with("error: data/train-labels-idx0-ubyte.gz is not usable: it is truncated: 0000 bytes should follow"), "{text}");
}

/// Checks the file that the hint for a truncated file names.
#[test]
fn the_checksums_tell_a_whole_file() {
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("../data");
    let folder = tempfile::tempdir().expect("a folder");
    let mut shipped = 0;
    for entry in fs::read_dir(&data).expect("the lab's data") {
        let path = entry.expect("an entry").path();
        fs::copy(&path, folder.path().join(path.file_name().expect("a name"))).expect("a copy");
        shipped += usize::from(path.extension().is_some_and(|extension| extension == "gz"));
    }
    let check = || {
        let mut command = Command::new("sha256sum");
        command.args(["-c", "SHA256SUMS"]);
        run(command.current_dir(folder.path()))
    };
    let whole = stdout(&check());
    assert_eq!(whole.matches(": OK").count(), shipped, "{whole}");
    let file = folder.path().join("train-labels-idx1-ubyte.gz");
    let bytes = fs::read(&file).expect("a file");
    fs::write(&file, &bytes[..bytes.len() / 2]).expect("a file");
    let truncated = check();
    assert!(!truncated.status.success());
    let text = stdout(&truncated);
    assert!(
        text.contains("train-labels-idx1-ubyte.gz: FAILED"),
        "{text}"
    );
}

#[test]
fn a_damaged_archive() {
    let text = train_with(|data| {
        let path = data.join("t10k-labels-idx1-ubyte.gz");
        let mut bytes = fs::read(&path).expect("a file");
        let checksum = bytes.len() - 8;
        bytes[checksum] ^= 1;
        fs::write(&path, bytes).expect("a file");
    });
    assert_snapshot!(text, @r"
    error: data/t10k-labels-idx1-ubyte.gz is not usable: its gzip archive is damaged (corrupt gzip stream does not have a matching checksum)
    hint: get the file again; `sha256sum -c SHA256SUMS` in notebooks/02-train-model/data tells whether the lab's own are whole
    ");
}

#[test]
fn an_archive_that_is_none() {
    let text = train_with(|data| {
        fs::write(
            data.join("t10k-labels-idx1-ubyte.gz"),
            "<html>Not found</html>",
        )
        .expect("a file");
    });
    assert_snapshot!(text, @r"
    error: data/t10k-labels-idx1-ubyte.gz is not usable: its gzip archive is damaged (invalid gzip header)
    hint: get the file again; `sha256sum -c SHA256SUMS` in notebooks/02-train-model/data tells whether the lab's own are whole
    ");
}

#[test]
fn a_file_of_another_kind() {
    let text = train_with(|data| {
        fs::copy(
            data.join("t10k-images-idx3-ubyte"),
            data.join("t10k-labels-idx1-ubyte"),
        )
        .expect("a copy");
    });
    assert_snapshot!(text, @r"
    error: data/t10k-labels-idx1-ubyte is not usable: it starts with 0x00000803, an IDX file of labels with 0x00000801
    hint: get the file again; `sha256sum -c SHA256SUMS` in notebooks/02-train-model/data tells whether the lab's own are whole
    ");
}

#[test]
fn labels_of_other_pictures() {
    let text = train_with(|data| {
        let labels = idx("train-labels-idx1-ubyte", 8, 3999, 1);
        fs::write(data.join("train-labels-idx1-ubyte.gz"), packed(&labels)).expect("a file");
    });
    assert_snapshot!(text, @r"
    error: data/train-labels-idx1-ubyte.gz is not usable: it labels 3999 pictures, but train-images-idx3-ubyte holds 4000
    hint: get the file again; `sha256sum -c SHA256SUMS` in notebooks/02-train-model/data tells whether the lab's own are whole
    ");
}

#[test]
fn a_label_that_is_no_digit() {
    let text = train_with(|data| {
        let mut labels = idx("train-labels-idx1-ubyte", 8, 4000, 1);
        labels[8 + 77] = 12;
        fs::write(data.join("train-labels-idx1-ubyte.gz"), packed(&labels)).expect("a file");
    });
    assert_snapshot!(text, @r"
    error: data/train-labels-idx1-ubyte.gz is not usable: label 77 is 12, not a digit
    hint: get the file again; `sha256sum -c SHA256SUMS` in notebooks/02-train-model/data tells whether the lab's own are whole
    ");
}

#[test]
fn pictures_of_another_size() {
    let text = train_with(|data| {
        let path = data.join("train-images-idx3-ubyte");
        let mut bytes = fs::read(&path).expect("a file");
        bytes[8..16].copy_from_slice(&[0, 0, 0, 32, 0, 0, 0, 32]);
        fs::write(&path, bytes).expect("a file");
    });
    assert_snapshot!(text, @r"
    error: data/train-images-idx3-ubyte is not usable: its pictures are 32×32, not 28×28
    hint: get the file again; `sha256sum -c SHA256SUMS` in notebooks/02-train-model/data tells whether the lab's own are whole
    ");
}

#[test]
fn more_than_the_header_says() {
    let text = train_with(|data| {
        let path = data.join("train-images-idx3-ubyte");
        let mut bytes = fs::read(&path).expect("a file");
        bytes.push(0);
        fs::write(&path, bytes).expect("a file");
    });
    assert_snapshot!(text, @r"
    error: data/train-images-idx3-ubyte is not usable: more than the 3136000 bytes of its 4000 entries follow its header
    hint: get the file again; `sha256sum -c SHA256SUMS` in notebooks/02-train-model/data tells whether the lab's own are whole
    ");
}

#[test]
fn a_missing_file() {
    let text =
        train_with(|data| fs::remove_file(data.join("t10k-images-idx3-ubyte")).expect("a file"));
    assert_snapshot!(text, @r"
    error: the folder data has neither t10k-images-idx3-ubyte nor t10k-images-idx3-ubyte.gz
    hint: --data must name the folder of MNIST's four IDX files, unpacked or .gz
    ");
}

#[test]
fn a_learning_rate_that_is_far_too_large() {
    let folder = tempfile::tempdir().expect("a folder");
    small_data(folder.path());
    let output = train(folder.path(), &["--lr", "1e30", "--epochs", "1"]);
    assert_snapshot!(error(&output, folder.path()), @r"
    error: the loss became NaN in epoch 1: training diverged
    hint: try a smaller --lr
    ");
}

#[test]
fn arguments_that_make_no_sense() {
    let folder = tempfile::tempdir().expect("a folder");
    for arguments in [
        ["--epochs", "0"],
        ["--batch-size", "0"],
        ["--lr", "nan"],
        ["--gamma", "0"],
        ["--log-interval", "0"],
        ["--seed", "one"],
    ] {
        let output = train(folder.path(), &arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        let told = stderr(&output);
        assert!(
            told.contains(arguments[0]) && told.contains("--help"),
            "{told}"
        );
    }
}

#[test]
fn a_full_disk() {
    let folder = tempfile::tempdir().expect("a folder");
    small_data(folder.path());
    // Limits file sizes to 2 MB (4 MB if `sh` counts in units of 1024 bytes), which simulates a
    // full disk for a model of 5 MB.
    let mut command = Command::new("sh");
    command.args([
        "-c",
        "trap '' XFSZ; ulimit -f 4000; exec \"$0\" --dry-run --epochs 1",
        TRAIN,
    ]);
    let output = run(command.current_dir(folder.path()));
    assert_snapshot!(error(&output, folder.path()), @r"
    error: cannot write outputs/model/model.pt: no room is left on the disk (File too large (os error 27))
    hint: make room, or name a folder on another disk with --output
    ");
    let left = fs::read_dir(folder.path().join("outputs/model")).expect("a folder");
    assert_eq!(left.count(), 0, "no half of a file is left");
}

#[test]
fn too_little_memory() {
    let folder = tempfile::tempdir().expect("a folder");
    small_data(folder.path());
    // An address space large enough for libtorch, but not for the activations of 4,000 images in
    // one batch.
    let mut command = Command::new("sh");
    command.args([
        "-c",
        "ulimit -v 2000000; exec \"$0\" --dry-run --epochs 1 --no-cuda --batch-size 4000 --precision float32",
        TRAIN,
    ]);
    command.env("OMP_NUM_THREADS", "1");
    let output = run(command.current_dir(folder.path()));
    let text = error(&output, folder.path());
    // The number of bytes depends on the machine.
    assert!(text.starts_with("error: libtorch failed: "), "{text}");
    assert!(text.contains("can't allocate memory"), "{text}");
    assert!(
        text.ends_with("\nhint: try a smaller --batch-size and --test-batch-size; where it is the GPU's memory, --no-cuda trains without it\n"),
        "{text}"
    );
}

#[test]
fn an_output_that_cannot_be_written() {
    let folder = tempfile::tempdir().expect("a folder");
    small_data(folder.path());
    fs::write(folder.path().join("outputs"), "a file, not a folder").expect("a file");
    let output = train(folder.path(), &["--dry-run", "--epochs", "1"]);
    assert_snapshot!(error(&output, folder.path()), @r"
    error: cannot write outputs/model: Not a directory (os error 20)
    hint: check that the folder can be written to, or name another one with --output
    ");
}

fn predict(folder: &Path, model: &Path, digits: &str) -> String {
    fs::write(folder.join("digits.json"), digits).expect("a file");
    let mut command = Command::new(PREDICT);
    command
        .arg("--model")
        .arg(model)
        .args(["--digits", "digits.json"]);
    let output = run(command.current_dir(folder));
    assert!(!folder.join("outputs").exists(), "nothing is left behind");
    error(&output, folder)
}

#[test]
fn drawings_that_are_none() {
    let folder = tempfile::tempdir().expect("a folder");
    let model = TRAINED.model();
    assert_snapshot!(predict(folder.path(), &model, "[[\"##\"]]"), @r"
    error: digits.json holds no digits that can be read: digit 1 has 1 rows, not 28
    hint: give a JSON list of digits, each 28 strings of 28 characters (`#` is ink, `.` or a space is paper) or 784 numbers from 0 to 1
    ");
    let blank = serde_json::json!([vec![" ".repeat(28); 28]]).to_string();
    assert_snapshot!(predict(folder.path(), &model, &blank), @r"
    error: digits.json holds no digits that can be read: digit 1 is blank
    hint: give a JSON list of digits, each 28 strings of 28 characters (`#` is ink, `.` or a space is paper) or 784 numbers from 0 to 1
    ");
    let mut command = Command::new(PREDICT);
    command
        .args(["--digits", "nowhere.json"])
        .current_dir(folder.path());
    assert_snapshot!(error(&run(&mut command), folder.path()), @r"
    error: cannot read nowhere.json: No such file or directory (os error 2)
    hint: check that nowhere.json can be read
    ");
}

#[test]
fn a_model_that_is_none() {
    let folder = tempfile::tempdir().expect("a folder");
    let digits = serde_json::json!(vec!["#".repeat(28); 28]).to_string();
    assert_snapshot!(predict(folder.path(), Path::new("models"), &digits), @r"
    error: there is no model in models
    hint: train one first, or name the folder that holds model.pt with --model
    ");
    fs::write(folder.path().join("model.pt"), "no model").expect("a file");
    assert_snapshot!(predict(folder.path(), Path::new("model.pt"), &digits), @r"
    error: cannot use the model model.pt: PytorchStreamReader failed reading zip archive: not a ZIP archive
    hint: it must be a TorchScript file as the training program writes it (outputs/model/model.pt)
    ");
}

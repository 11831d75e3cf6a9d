//! A library in the cell process that shares the cells' standard library; cells call its functions.
//!
//! The kernel's binary contains a separate copy of the standard library, so it can neither flush
//! the cells' standard output nor observe their panics. The compiler of the cells compiles this
//! file and links it to the same shared standard library. Cells of the kernel's own evaluator link
//! to it as a crate: it stores their variables and reports how they ended.

use std::alloc::{alloc, dealloc, handle_alloc_error, Layout};
use std::any::{type_name, Any, TypeId};
use std::cell::RefCell;
use std::collections::HashMap;
use std::ffi::c_void;
use std::fmt;
use std::future::{poll_fn, Future};
use std::io::Write;
use std::marker::PhantomData;
use std::mem::{needs_drop, ManuallyDrop};
use std::num::NonZero;
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::pin::pin;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::task::Waker;

/// Receives a text of one of the kinds below.
type Sink = extern "C" fn(kind: u8, text: *const c_void, length: usize);

/// A panic on the cell thread: location and message separated by a NUL.
const PANIC: u8 = 0;
/// A panic on another thread, as text for standard error.
const PANIC_ELSEWHERE: u8 = 1;
/// The error text of a `?` that has ended the cell, or a text that starts with one of the prefixes
/// below.
const FAILED: u8 = 2;
/// Prefix of the names of lost variables, one per line.
const LOST: &str = "\u{1c}";
/// `return` has ended the cell before its last statement.
const LEFT: &str = "\u{1d}";
/// The last panic has ended the cell.
const PANICKED: u8 = 3;
/// Part of the text of the cell's value; an empty part ends it.
const VALUE: u8 = 4;

/// Linux's number of `ECANCELED`, the error of calls that an interrupt has ended.
const CANCELED: i32 = 125;

/// The message of the panic that ends an interrupted cell.
const STOPPED: &str = "Operation canceled (os error 125)";

/// Maximum length of a text that is sent at once.
const PART: usize = 16 * 1024;

static SINK: OnceLock<Sink> = OnceLock::new();

/// Returns whether the cell was interrupted and has not reacted yet.
type Asked = extern "C" fn() -> bool;

static ASKED: OnceLock<Asked> = OnceLock::new();

/// Wakes the future of the cell, which then checks for an interrupt.
static WAITING: Mutex<Option<Waker>> = Mutex::new(None);

fn send(kind: u8, text: &str) {
    if let Some(sink) = SINK.get() {
        sink(kind, text.as_ptr().cast(), text.len());
    }
}

#[no_mangle]
pub extern "C" fn cell_runtime_start(sink: Sink, asked: Asked) {
    SINK.get_or_init(|| sink);
    ASKED.get_or_init(|| asked);
    let cell_thread = std::thread::current().id();
    std::panic::set_hook(Box::new(move |panic| {
        let message = match (panic.payload().downcast_ref::<&str>(), panic.payload().downcast_ref::<String>()) {
            (Some(text), _) => text,
            (None, Some(text)) => text.as_str(),
            (None, None) => "Box<dyn Any>",
        };
        let place = panic
            .location()
            .map(|place| format!("{}:{}:{}", place.file(), place.line(), place.column()))
            .unwrap_or_default();
        let thread = std::thread::current();
        if thread.id() == cell_thread {
            if let Some(panicked) = PANICKED_TEST.lock().unwrap_or_else(PoisonError::into_inner).as_mut() {
                *panicked = (place, message.to_owned());
                return;
            }
            // The code that waited received `ECANCELED` and panicked with its own message.
            let stopped = ASKED.get().is_some_and(|asked| asked()) && message.contains(&CANCELED.to_string());
            let message = if stopped { STOPPED } else { message };
            send(PANIC, &format!("{place}\0{message}"));
        } else {
            let name = thread.name().unwrap_or("<unnamed>");
            // Names of generated files are meaningless to the user.
            let file = place.split(':').next().unwrap_or_default();
            let number = file.strip_prefix("cell_").or(file.strip_prefix("session_"));
            let is_generated = number.is_some_and(|rest| rest.trim_end_matches(".rs").parse::<u64>().is_ok());
            let place = if is_generated { String::new() } else { format!(" at {place}") };
            send(PANIC_ELSEWHERE, &format!("thread '{name}' panicked{place}:\n{message}\n"));
        }
    }));
}

#[no_mangle]
pub extern "C" fn cell_runtime_flush() {
    let _ = catch_unwind(|| std::io::stdout().flush());
}

#[no_mangle]
pub extern "C" fn cell_runtime_stop() {
    let waker = WAITING.lock().unwrap_or_else(PoisonError::into_inner).take();
    if let Some(waker) = waker {
        waker.wake();
    }
}

/// Runs the future of a cell; panics when the cell is interrupted.
pub async fn until_stopped<T>(future: impl Future<Output = T>) -> T {
    let mut future = pin!(future);
    poll_fn(|context| {
        if ASKED.get().is_some_and(|asked| asked()) {
            panic!("{STOPPED}");
        }
        *WAITING.lock().unwrap_or_else(PoisonError::into_inner) = Some(context.waker().clone());
        future.as_mut().poll(context)
    })
    .await
}

thread_local! {
    /// The persistent variables. All cells run on one thread, which lives as long as the process.
    static VARIABLES: RefCell<HashMap<String, Variable>> = RefCell::default();
}

// Generic code is compiled again in each cell, which would take a third of a cell's time. All code
// that need not be generic is therefore not generic.

/// The storage of a variable.
struct Variable {
    place: NonNull<u8>,
    kind: Kind,
    drop: Option<unsafe fn(*mut u8)>,
    /// Whether the storage holds the value; false while a cell has taken it.
    there: bool,
}

/// Identity of a type, compared before a value is read. The kernel has already compared everything
/// that the type depends on; this is a second check.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Kind {
    type_id: TypeId,
    layout: Layout,
    name: &'static str,
}

impl Kind {
    fn of<T: 'static>() -> Self {
        Self { type_id: TypeId::of::<T>(), layout: Layout::new::<T>(), name: type_name::<T>() }
    }
}

impl Drop for Variable {
    fn drop(&mut self) {
        if let (true, Some(drop)) = (self.there, self.drop) {
            // SAFETY: the storage holds a value of the type that `drop` is for.
            unsafe { drop(self.place.as_ptr()) };
        }
        if self.kind.layout.size() > 0 {
            // SAFETY: the storage was allocated with this layout.
            unsafe { dealloc(self.place.as_ptr(), self.kind.layout) };
        }
    }
}

/// Records the type of a variable in the compiled cell, where the kernel reads it.
pub struct Stored<T>(PhantomData<T>);

/// Stores a new variable. The name is `'static` so that it appears literally in the call.
#[inline(never)]
pub fn store<T: 'static>(name: &'static str, value: T) -> Stored<T> {
    unsafe fn drop<T>(place: *mut u8) {
        // SAFETY: the caller guarantees it.
        unsafe { place.cast::<T>().drop_in_place() }
    }
    let drop = if const { needs_drop::<T>() } { Some(drop::<T> as unsafe fn(*mut u8)) } else { None };
    let place = allocate(Layout::new::<T>());
    // SAFETY: the memory has the layout of this type and is uninitialised.
    unsafe { place.cast::<T>().write(value) };
    put(name, Variable { place, kind: Kind::of::<T>(), drop, there: true });
    Stored(PhantomData)
}

fn allocate(layout: Layout) -> NonNull<u8> {
    if layout.size() == 0 {
        return NonNull::without_provenance(NonZero::new(layout.align()).unwrap_or(NonZero::<usize>::MIN));
    }
    // SAFETY: the size is not zero.
    NonNull::new(unsafe { alloc(layout) }).unwrap_or_else(|| handle_alloc_error(layout))
}

fn put(name: &str, variable: Variable) {
    let earlier = VARIABLES.with_borrow_mut(|variables| variables.insert(name.to_owned(), variable));
    // Dropped after the borrow has ended: user code may run.
    drop(earlier);
}

/// Returns whether a variable exists and has this type; reports it as lost otherwise. The kernel
/// excludes this case, except for crates that have changed.
pub fn check<T: 'static>(name: &str) -> bool {
    is(name, Kind::of::<T>())
}

fn is(name: &str, expected: Kind) -> bool {
    let as_expected = VARIABLES.with_borrow(|variables| {
        variables.get(name).is_some_and(|variable| variable.there && variable.kind == expected)
    });
    if !as_expected {
        let mut lost = LOST_NAMES.lock().unwrap_or_else(PoisonError::into_inner);
        lost.push_str(&format!("{name}\n"));
        send(FAILED, &format!("{LOST}{lost}"));
    }
    as_expected
}

/// The variables that the running cell needs, but which are missing or have another type.
static LOST_NAMES: Mutex<String> = Mutex::new(String::new());

/// Moves a variable out of its storage.
///
/// # Panics
/// When it was not [checked](check).
pub fn take<T: 'static>(name: &str) -> T {
    // SAFETY: the storage holds a value of this type, and it is not read again.
    unsafe { place(name, Kind::of::<T>(), false).cast::<T>().read() }
}

/// Moves a variable back into its storage.
///
/// # Panics
/// When it was not [taken](take).
pub fn keep<T: 'static>(name: &str, value: T) {
    // SAFETY: the memory has the layout of this type, and its value was taken.
    unsafe { place(name, Kind::of::<T>(), true).cast::<T>().write(value) }
}

/// Moves a variable back, unless the cell has stored another one with its name.
pub fn keep_unless_stored<T: 'static>(name: &str, value: T) {
    if is_taken(name) {
        keep(name, value);
    }
}

fn is_taken(name: &str) -> bool {
    VARIABLES.with_borrow(|variables| variables.get(name).is_some_and(|variable| !variable.there))
}

/// Returns the storage of a variable of this type, and sets `there`, which must change the flag.
fn place(name: &str, kind: Kind, there: bool) -> *mut u8 {
    VARIABLES.with_borrow_mut(|variables| match variables.get_mut(name) {
        Some(variable) if variable.kind == kind && variable.there != there => {
            variable.there = there;
            variable.place.as_ptr()
        }
        _ => panic!("the variable `{name}` was not checked"),
    })
}

/// Whether the running cell has reached the end of its statements.
static FINISHED: AtomicBool = AtomicBool::new(false);

/// Marks the end of a cell's statements.
pub fn finished() -> Result<(), Failed> {
    FINISHED.store(true, Ordering::Relaxed);
    Ok(())
}

/// Runs the statements of a cell and reports how they ended.
pub fn run<F: FnOnce() -> Result<(), Failed>>(statements: F) {
    unsafe fn call<F: FnOnce() -> Result<(), Failed>>(statements: *mut u8) -> Result<(), Failed> {
        // SAFETY: the caller guarantees it.
        unsafe { statements.cast::<F>().read()() }
    }
    let mut statements = ManuallyDrop::new(statements);
    // SAFETY: the statements are called once and not used afterwards.
    unsafe { run_once((&raw mut statements).cast(), call::<F>) }
}

/// # Safety
/// `statements` must point to the value that `call` reads; it is read once.
unsafe fn run_once(statements: *mut u8, call: unsafe fn(*mut u8) -> Result<(), Failed>) {
    FINISHED.store(false, Ordering::Relaxed);
    // SAFETY: the caller guarantees it.
    match catch_unwind(AssertUnwindSafe(|| unsafe { call(statements) })) {
        Ok(Ok(())) if FINISHED.load(Ordering::Relaxed) => {}
        Ok(Ok(())) => send(FAILED, LEFT),
        Ok(Err(Failed(text))) => send(FAILED, &text),
        Err(panic) => {
            // Dropping the payload may panic again.
            let _ = catch_unwind(AssertUnwindSafe(|| drop(panic)));
            send(PANICKED, "");
        }
    }
}

/// The error text when `?` is applied to a `None`.
pub const NONE: &str = "`?` has met `None`";

/// `dbg!` with the location in the cell.
#[macro_export]
macro_rules! dbg {
    ($place:literal;) => { ::std::eprintln!("[{}]", $place) };
    ($place:literal; $value:expr $(,)?) => {
        match $value {
            value => {
                ::std::eprintln!("[{}] {} = {:#?}", $place, $crate::written(::std::stringify!($value)), &value);
                value
            }
        }
    };
    ($place:literal; $($value:expr),+ $(,)?) => { ($($crate::dbg!($place; $value)),+,) };
}

/// Returns an expression as written in the cell: without the locations in its [`dbg!`] calls.
pub fn written(text: &str) -> String {
    const CALL: &str = "::__azk_runtime::dbg!(";
    let mut written = String::new();
    let mut rest = text;
    while let Some((before, call)) = rest.split_once(CALL) {
        written.push_str(before);
        written.push_str("dbg!(");
        rest = call.split_once(';').map_or("", |(_, arguments)| arguments.trim_start());
    }
    written + rest
}

/// The error type to which `?` converts errors.
pub struct Failed(String);

impl<E: fmt::Display> From<E> for Failed {
    fn from(error: E) -> Self {
        Self(format!("{error}"))
    }
}

/// Receives the location and message of a panic while tests run.
static PANICKED_TEST: Mutex<Option<(String, String)>> = Mutex::new(None);

/// Return types of tests.
pub trait Tested {
    /// The result, with the error as text.
    fn result(self) -> Result<(), String>;
}

impl Tested for () {
    fn result(self) -> Result<(), String> {
        Ok(())
    }
}

impl<T: Tested, E: fmt::Debug> Tested for Result<T, E> {
    fn result(self) -> Result<(), String> {
        match self {
            Ok(value) => value.result(),
            Err(error) => Err(format!("Error: {error:?}")),
        }
    }
}

/// A test: name, whether it is ignored, the expected panic message, and the function.
pub type Test = (&'static str, bool, Option<&'static str>, fn() -> Result<(), String>);

/// Runs tests; returns a report with four fields per test.
pub fn run_tests(tests: &[Test]) -> Result<(), String> {
    let mut report = String::new();
    for (name, ignored, panics, test) in tests {
        let (how, place, message) = if *ignored {
            ("ignored", String::new(), String::new())
        } else {
            *PANICKED_TEST.lock().unwrap_or_else(PoisonError::into_inner) = Some(Default::default());
            let ended = catch_unwind(test);
            let panicked = PANICKED_TEST.lock().unwrap_or_else(PoisonError::into_inner).take();
            let (place, message) = panicked.unwrap_or_default();
            if ASKED.get().is_some_and(|asked| asked()) {
                panic!("{STOPPED}");
            }
            match (ended, panics) {
                (Ok(Ok(())), None) => ("ok", String::new(), String::new()),
                (Ok(Err(error)), None) => ("FAILED", String::new(), error),
                (Err(_), Some(words)) if message.contains(words) => ("ok", String::new(), String::new()),
                (Err(_), Some(words)) => ("FAILED", place, format!("{message}\nthe message should contain: {words}")),
                (Err(_), None) => ("FAILED", place, message),
                (Ok(_), Some(_)) => ("FAILED", String::new(), "it should panic and did not".to_owned()),
            }
        };
        report += &format!("\u{1e}{name}\u{1f}{how}\u{1f}{place}\u{1f}{message}");
    }
    // Always an error, so that the kernel formats the report.
    Err(report)
}

static PRETTY: AtomicBool = AtomicBool::new(false);
static TYPES: AtomicBool = AtomicBool::new(false);

/// Begins a cell. Sets whether its value is pretty-printed and whether its type is shown.
pub fn begin(pretty: bool, types: bool) {
    LOST_NAMES.lock().unwrap_or_else(PoisonError::into_inner).clear();
    PRETTY.store(pretty, Ordering::Relaxed);
    TYPES.store(types, Ordering::Relaxed);
}

/// Shows a value by `Debug`, when its type defines no `evcxr_display`.
pub trait ByDebug {
    /// Shows the value.
    fn evcxr_display(&self);
}

impl<T: fmt::Debug + ?Sized> ByDebug for T {
    fn evcxr_display(&self) {
        show_by_debug(type_name::<T>(), &self);
    }
}

fn show_by_debug(type_name: &str, value: &dyn fmt::Debug) {
    let text = if PRETTY.load(Ordering::Relaxed) {
        format!("{value:#?}")
    } else {
        format!("{value:?}")
    };
    show(type_name, text);
}

/// Shows a value by `Display`, when its type defines no `evcxr_display`.
pub trait ByDisplay {
    /// Shows the value.
    fn evcxr_display(&self);
}

impl<T: fmt::Display + ?Sized> ByDisplay for T {
    fn evcxr_display(&self) {
        show_by_display(type_name::<T>(), &self);
    }
}

fn show_by_display(type_name: &str, value: &dyn fmt::Display) {
    show(type_name, value.to_string());
}

fn show(type_name: &str, mut text: String) {
    if type_name == "()" {
        return;
    }
    if TYPES.load(Ordering::Relaxed) {
        text = format!(": {} = {text}", shorten(type_name));
    }
    let mut rest = text.as_str();
    while !rest.is_empty() {
        let end = (1..=rest.len().min(PART)).rev().find(|end| rest.is_char_boundary(*end)).unwrap_or(rest.len());
        send(VALUE, &rest[..end]);
        rest = &rest[end..];
    }
    send(VALUE, "");
}

/// Shortens `core::option::Option<alloc::string::String>` to `Option<String>`.
fn shorten(type_name: &str) -> String {
    let mut short = String::new();
    let mut word = String::new();
    for character in type_name.chars() {
        if character.is_alphanumeric() || character == '_' {
            word.push(character);
        } else if character == ':' {
            word.clear();
        } else {
            short.push_str(&std::mem::take(&mut word));
            short.push(character);
        }
    }
    short + &word
}

/// Returns the value of this type that all cells share; creates it on the first call.
pub fn shared<T: Send + Sync + 'static>(make: fn() -> T) -> &'static T {
    static VALUES: Mutex<Vec<&'static (dyn Any + Send + Sync)>> = Mutex::new(Vec::new());
    let mut values = VALUES.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(value) = values.iter().find_map(|value| value.downcast_ref()) {
        return value;
    }
    let value: &'static T = Box::leak(Box::new(make()));
    values.push(value);
    value
}

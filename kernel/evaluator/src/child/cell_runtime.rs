//! A library in the cell process that shares the cells' standard library, and what cells call in it.
//!
//! The kernel's binary carries a copy of the standard library of its own, so it can neither flush the cells' standard output nor see
//! their panics. This file is compiled by the compiler that compiles the cells, linked to the same shared standard library.
//! Cells that the kernel writes link to it as a crate: it keeps their variables and tells how they ended.

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

/// Takes a text of one of the kinds below.
type Sink = extern "C" fn(kind: u8, text: *const c_void, length: usize);

/// A panic on the thread of the cell: its place and message separated by a NUL.
const PANIC: u8 = 0;
/// A panic on another thread, as text for standard error.
const PANIC_ELSEWHERE: u8 = 1;
/// `?` has left the cell: the error's text. Or one of the texts below, by their first sign.
const FAILED: u8 = 2;
/// Before the names of variables that are lost, a line each.
const LOST: &str = "\u{1c}";
/// `return` has left the cell before its end.
const LEFT: &str = "\u{1d}";
/// The last panic has ended the cell.
const PANICKED: u8 = 3;
/// A part of the text of the cell's value; an empty one ends it.
const VALUE: u8 = 4;

/// Linux's number of the error with which everything else ends that is to stop.
const CANCELED: i32 = 125;

/// The message of a panic that ends a cell which is to stop.
const STOPPED: &str = "Operation canceled (os error 125)";

/// No text is sent in longer parts.
const PART: usize = 16 * 1024;

static SINK: OnceLock<Sink> = OnceLock::new();

/// Says whether the cell is to stop and has not seen it.
type Asked = extern "C" fn() -> bool;

static ASKED: OnceLock<Asked> = OnceLock::new();

/// Wakes the future of the cell, which then sees that it is to stop.
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
            // Whoever waited has met this error and panics about it, in words of its own.
            let stopped = ASKED.get().is_some_and(|asked| asked()) && message.contains(&CANCELED.to_string());
            let message = if stopped { STOPPED } else { message };
            send(PANIC, &format!("{place}\0{message}"));
        } else {
            let name = thread.name().unwrap_or("<unnamed>");
            // The names of generated files say nothing to the user.
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

/// The future of a cell; ends by a panic when the cell is to stop.
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
    /// The variables that live on between cells. All cells run on one thread, which never ends by itself.
    static VARIABLES: RefCell<HashMap<String, Variable>> = RefCell::default();
}

// Everything generic is compiled again in each cell, so what need not be generic is not: it would be a third of a cell's time.

/// Where a variable lives while no cell has taken it.
struct Variable {
    place: NonNull<u8>,
    kind: Kind,
    drop: Option<unsafe fn(*mut u8)>,
    /// Whether the value is there, not with a cell.
    there: bool,
}

/// What is compared before a value is read as a type. The kernel has compared all that the type depends on; this is the second look.
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
            // SAFETY: a value of the type that `drop` is for lies there.
            unsafe { drop(self.place.as_ptr()) };
        }
        if self.kind.layout.size() > 0 {
            // SAFETY: allocated with this layout.
            unsafe { dealloc(self.place.as_ptr(), self.kind.layout) };
        }
    }
}

/// Says in the compiled cell which type a variable has; the kernel reads it there.
pub struct Stored<T>(PhantomData<T>);

/// Keeps a new variable. The name is `'static` so that it stands in the call as it is.
#[inline(never)]
pub fn store<T: 'static>(name: &'static str, value: T) -> Stored<T> {
    unsafe fn drop<T>(place: *mut u8) {
        // SAFETY: as the caller promises.
        unsafe { place.cast::<T>().drop_in_place() }
    }
    let drop = if const { needs_drop::<T>() } { Some(drop::<T> as unsafe fn(*mut u8)) } else { None };
    let place = allocate(Layout::new::<T>());
    // SAFETY: memory for such a value, and nothing is in it.
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
    // Dropped when nothing is borrowed: user code may run.
    drop(earlier);
}

/// Whether a variable is there and has this type; says so when not. The kernel rules that out but for crates that have changed.
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

/// The variables that the running cell needs and that are not what it takes them for.
static LOST_NAMES: Mutex<String> = Mutex::new(String::new());

/// Takes a variable away from where it lives.
///
/// # Panics
/// When it was not [checked](check).
pub fn take<T: 'static>(name: &str) -> T {
    // SAFETY: a value of this type lies there, and is not read again.
    unsafe { place(name, Kind::of::<T>(), false).cast::<T>().read() }
}

/// Puts a variable back.
///
/// # Panics
/// When it was not [taken](take).
pub fn keep<T: 'static>(name: &str, value: T) {
    // SAFETY: memory for a value of this type, and what was there was taken.
    unsafe { place(name, Kind::of::<T>(), true).cast::<T>().write(value) }
}

/// Puts a variable back, unless the cell has kept another one by its name.
pub fn keep_unless_stored<T: 'static>(name: &str, value: T) {
    if is_taken(name) {
        keep(name, value);
    }
}

fn is_taken(name: &str) -> bool {
    VARIABLES.with_borrow(|variables| variables.get(name).is_some_and(|variable| !variable.there))
}

/// Where a variable of this type lives; notes whether its value will be there, which must be new.
fn place(name: &str, kind: Kind, there: bool) -> *mut u8 {
    VARIABLES.with_borrow_mut(|variables| match variables.get_mut(name) {
        Some(variable) if variable.kind == kind && variable.there != there => {
            variable.there = there;
            variable.place.as_ptr()
        }
        _ => panic!("the variable `{name}` was not checked"),
    })
}

/// Whether the statements of the running cell have come to their end.
static FINISHED: AtomicBool = AtomicBool::new(false);

/// The end of a cell's statements.
pub fn finished() -> Result<(), Failed> {
    FINISHED.store(true, Ordering::Relaxed);
    Ok(())
}

/// Runs the statements of a cell and says how they ended.
pub fn run<F: FnOnce() -> Result<(), Failed>>(statements: F) {
    unsafe fn call<F: FnOnce() -> Result<(), Failed>>(statements: *mut u8) -> Result<(), Failed> {
        // SAFETY: as the caller promises.
        unsafe { statements.cast::<F>().read()() }
    }
    let mut statements = ManuallyDrop::new(statements);
    // SAFETY: they are called once, and never used again.
    unsafe { run_once((&raw mut statements).cast(), call::<F>) }
}

/// # Safety
/// `statements` are what `call` reads, which happens once.
unsafe fn run_once(statements: *mut u8, call: unsafe fn(*mut u8) -> Result<(), Failed>) {
    FINISHED.store(false, Ordering::Relaxed);
    // SAFETY: as the caller promises.
    match catch_unwind(AssertUnwindSafe(|| unsafe { call(statements) })) {
        Ok(Ok(())) if FINISHED.load(Ordering::Relaxed) => {}
        Ok(Ok(())) => send(FAILED, LEFT),
        Ok(Err(Failed(text))) => send(FAILED, &text),
        Err(panic) => {
            // Dropping what was thrown may panic again.
            let _ = catch_unwind(AssertUnwindSafe(|| drop(panic)));
            send(PANICKED, "");
        }
    }
}

/// What `?` on an `Option` leaves a cell with.
pub const NONE: &str = "`?` has met `None`";

/// `dbg!` at a place of a cell.
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

/// An expression as the cell has it: without the places of the calls of [`dbg!`] in it.
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

/// What `?` makes of an error.
pub struct Failed(String);

impl<E: fmt::Display> From<E> for Failed {
    fn from(error: E) -> Self {
        Self(format!("{error}"))
    }
}

/// Where the panic of a test goes, its place and its message, while tests run.
static PANICKED_TEST: Mutex<Option<(String, String)>> = Mutex::new(None);

/// What a test gives: nothing, or how it went.
pub trait Tested {
    /// The words of the error, if it is one.
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

/// A test: its name, whether it is ignored, the words with which it has to panic, and the test itself.
pub type Test = (&'static str, bool, Option<&'static str>, fn() -> Result<(), String>);

/// Runs tests; gives a report, four fields a test.
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
    // Always as an error, so that the kernel shows it in its own way.
    Err(report)
}

static PRETTY: AtomicBool = AtomicBool::new(false);
static TYPES: AtomicBool = AtomicBool::new(false);

/// A cell begins. How its value is shown: over several lines; with its type.
pub fn begin(pretty: bool, types: bool) {
    LOST_NAMES.lock().unwrap_or_else(PoisonError::into_inner).clear();
    PRETTY.store(pretty, Ordering::Relaxed);
    TYPES.store(types, Ordering::Relaxed);
}

/// The value of a cell whose type has no `evcxr_display` of its own, by `Debug`.
pub trait ByDebug {
    /// Shows it.
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

/// The same by `Display`.
pub trait ByDisplay {
    /// Shows it.
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

/// `core::option::Option<alloc::string::String>` as `Option<String>`.
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

/// The one value of this type that all cells share, made when it is first asked for.
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

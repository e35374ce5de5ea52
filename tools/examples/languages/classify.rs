// Classes of images, from Rust: classify IMAGE... The few declarations are written out; nothing is
// generated. `unsafe` is behind Model, which is Send and not Sync: an instance serves one call at a time.
use std::ffi::{c_char, c_int, c_void, CStr, CString};

#[repr(C)]
struct HoneClass {
    index: i64,
    score: f64,
    label: *const c_char,
}

#[link(name = "net")]
extern "C" {
    fn hone_net_create(options: *const c_void, err: *mut c_char, size: usize) -> *mut c_void;
    fn hone_net_destroy(model: *mut c_void);
    fn hone_net_classify_file(model: *mut c_void, file: *const c_char, top: c_int, classes: *mut HoneClass) -> c_int;
    fn hone_net_error(model: *const c_void) -> *const c_char;
}

struct Model(*mut c_void);
unsafe impl Send for Model {}

impl Model {
    fn new() -> Result<Model, String> {
        let mut why = [0 as c_char; 256];
        let model = unsafe { hone_net_create(std::ptr::null(), why.as_mut_ptr(), why.len()) };
        if model.is_null() {
            return Err(unsafe { text(why.as_ptr()) });
        }
        Ok(Model(model))
    }

    fn classify(&mut self, file: &str, top: usize) -> Result<Vec<(String, f64)>, String> {
        let file = CString::new(file).map_err(|e| e.to_string())?;
        let mut classes: Vec<HoneClass> = (0..top).map(|_| HoneClass { index: 0, score: 0.0, label: std::ptr::null() }).collect();
        let n = unsafe { hone_net_classify_file(self.0, file.as_ptr(), top as c_int, classes.as_mut_ptr()) };
        if n < 0 {
            return Err(unsafe { text(hone_net_error(self.0)) });
        }
        let name = |c: &HoneClass| if c.label.is_null() { format!("class {}", c.index) } else { unsafe { text(c.label) } };
        Ok(classes[..n as usize].iter().map(|c| (name(c), c.score)).collect())
    }
}

impl Drop for Model {
    fn drop(&mut self) {
        unsafe { hone_net_destroy(self.0) }
    }
}

unsafe fn text(s: *const c_char) -> String {
    CStr::from_ptr(s).to_string_lossy().into_owned()
}

fn main() {
    let mut model = Model::new().unwrap_or_else(|why| {
        eprintln!("{why}");
        std::process::exit(1)
    });
    let mut bad = false;
    for file in std::env::args().skip(1) {
        match model.classify(&file, 3) {
            Ok(classes) => classes.iter().for_each(|(label, score)| println!("{score:.4} {label}")),
            Err(why) => {
                eprintln!("{why}");
                bad = true;
            }
        }
    }
    std::process::exit(bad as i32);
}

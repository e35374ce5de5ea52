// What a file is that is no ONNX model, and what its owner may do. Asked only when reading it has
// failed, so that no model is ever taken for something else.
//
// Invariant: a look at the first bytes; nothing here is trusted, and nothing is followed.
#define _GNU_SOURCE // memmem
#include "frontend/onnx/load.h"

#include <ctype.h>
#include <string.h>

enum { LOOK = 1 << 16 }; // bytes that are searched for words
#define EXPORT "export it to ONNX where it was made (torch.onnx.export)"
#define ZIP "a zip archive: unpack it and give the .onnx file in it"
#define UNPACK ": unpack it first"

// Bytes at a place; the first row that fits tells.
typedef struct Magic {
    size_t at, n;
    const char *bytes, *text;
} Magic;
#define MAGIC(at, bytes, text)                                                                     \
    { at, sizeof bytes - 1, bytes, text }

static const Magic magics[] = {
    MAGIC(0, "version https://git-lfs.github.com/spec/",
          "a Git LFS pointer, not the file that it stands for: fetch that with git lfs pull"),
    MAGIC(0, "version https://hawser.github.com/spec/",
          "a Git LFS pointer, not the file that it stands for: fetch that with git lfs pull"),
    MAGIC(0, "\x1f\x8b", "compressed by gzip" UNPACK),
    MAGIC(0, "\x28\xb5\x2f\xfd", "compressed by zstd" UNPACK),
    MAGIC(0,
          "\xfd"
          "7zXZ",
          "compressed by xz" UNPACK),
    MAGIC(0, "BZh", "compressed by bzip2" UNPACK),
    MAGIC(0, "7z\xbc\xaf\x27\x1c", "a 7z archive" UNPACK),
    MAGIC(0, "Rar!", "a rar archive" UNPACK),
    MAGIC(257, "ustar", "a tar archive" UNPACK),
    MAGIC(4, "TFL3", "a TensorFlow Lite model: convert it with tf2onnx (--tflite)"),
    MAGIC(4, "ORTM",
          "a model in ONNX Runtime's own format: give the .onnx file that it was made from"),
    MAGIC(0, "\x89HDF\r\n\x1a\n",
          "an HDF5 file, perhaps of Keras: export the model to ONNX (tf2onnx, keras export)"),
    MAGIC(0, "\x93NUMPY", "a NumPy array"),
    MAGIC(0, "\x89PNG", "a PNG image"),
    MAGIC(0, "\xff\xd8\xff", "a JPEG image"),
    MAGIC(0, "%PDF", "a PDF document"),
    MAGIC(0,
          "\x7f"
          "ELF",
          "a program or library: a compiled model runs by itself"),
    MAGIC(0, "GGUF", "a GGUF file of llama.cpp"),
    MAGIC(0,
          "\x80\x02\x8a\x0al\xfc\x9c"
          "F\xf9 j\xa8P\x19",
          "a PyTorch checkpoint: " EXPORT),
    MAGIC(0, "ir_version:", "an ONNX model as text: write it as protobuf (onnx.save)"),
    MAGIC(0, "program \"", "textual IR: hone opt reads it"),
};

static bool has(FeFile f, const char *word) {
    return memmem(f.bytes, f.size < LOOK ? f.size : LOOK, word, strlen(word)) != NULL;
}

// PyTorch, Keras and NumPy keep their files in zip archives; names of members stand in the clear,
// those of the last ones in the directory at the end.
static const char *describe_zip(FeFile f) {
    FeFile end = f;
    if (f.size > LOOK) {
        end = (FeFile){.bytes = f.bytes + f.size - LOOK, .size = LOOK};
    }
    if (has(f, "/data.pkl") || has(end, "/data.pkl")) {
        return has(f, "/constants.pkl") || has(end, "/constants.pkl")
                   ? "a TorchScript archive: " EXPORT
                   : "a PyTorch checkpoint: " EXPORT;
    }
    if (has(f, "model.weights.h5") || has(end, "model.weights.h5")) {
        return "a Keras model: export it to ONNX (tf2onnx, keras export)";
    }
    if (has(f, ".npy") || has(end, ".npy")) {
        return "an archive of NumPy arrays (.npz)";
    }
    return ZIP;
}

// An 8-byte length, and a JSON object of that length.
static bool is_safetensors(FeFile f) {
    uint64_t n = 0;
    for (size_t i = 0; i < 8 && f.size > 8; i++) {
        n |= (uint64_t)f.bytes[i] << 8 * i;
    }
    return n >= 2 && f.size > 8 && n <= f.size - 8 && f.bytes[8] == '{';
}

// A GraphDef, which begins with a node, or a SavedModel. An ONNX model that was made from one has
// such names, too, but begins otherwise.
static bool is_tensorflow(FeFile f) {
    return (f.size > 2 && f.bytes[0] == 0x0a && (has(f, "Placeholder") || has(f, "Const"))) ||
           (f.size > 3 && memcmp(f.bytes, "\x08\x01\x12", 3) == 0 &&
            (has(f, "serving_default") || has(f, "saved_model")));
}

static bool begins(const char *s, const char *word) {
    return strncasecmp(s, word, strlen(word)) == 0;
}

bool fe_is_lfs_pointer(FeFile f) {
    return f.size >= magics[0].n && memcmp(f.bytes, magics[0].bytes, magics[0].n) == 0;
}

// NULL: no text.
static const char *describe_text(FeFile f) {
    char head[64];
    size_t i = f.size >= 3 && memcmp(f.bytes, "\xef\xbb\xbf", 3) == 0 ? 3 : 0, n = 0;
    while (i < f.size && isspace(f.bytes[i])) {
        i++;
    }
    while (n < sizeof head - 1 && i + n < f.size) {
        head[n] = (char)f.bytes[i + n];
        n++;
    }
    head[n] = 0;
    if (begins(head, "<!doctype html") || begins(head, "<html") || begins(head, "<head")) {
        return "an HTML page: the address gave a web page (of a log-in, or about the "
               "file); download the file itself";
    }
    if (begins(head, "<?xml")) {
        return "an XML file (OpenVINO's?): give the .onnx model that it was made from";
    }
    if (*head == '{' || *head == '[') {
        return "a JSON file: give the .onnx file that lies with it";
    }
    for (size_t k = 0; k < n; k++) {
        if (!isprint((unsigned char)head[k]) && !isspace((unsigned char)head[k])) {
            return NULL;
        }
    }
    return n >= 4 ? "a text file" : NULL;
}

// Its data, where the model lies beside it: "net.onnx_data", "net.onnx.data".
static bool is_external_data(const char *path) {
    static const char *const ends[] = {".onnx_data", ".onnx.data", ".data", ".weights",
                                       ".onnx_data_1"};
    size_t n = strlen(path);
    for (size_t i = 0; i < sizeof ends / sizeof *ends; i++) {
        if (n > strlen(ends[i]) && strcmp(path + n - strlen(ends[i]), ends[i]) == 0) {
            return true;
        }
    }
    return false;
}

const char *fe_describe_file(const char *path, FeFile f) {
    for (size_t i = 0; i < sizeof magics / sizeof *magics; i++) {
        const Magic *m = &magics[i];
        if (f.size >= m->at + m->n && memcmp(f.bytes + m->at, m->bytes, m->n) == 0) {
            return m->text;
        }
    }
    if (f.size >= 4 && memcmp(f.bytes, "PK\3\4", 4) == 0) {
        return describe_zip(f);
    }
    if (is_external_data(path)) {
        return "external data of a model, by its name: give the .onnx file that lies with it";
    }
    if (is_safetensors(f)) {
        return "safetensors, weights without a network: " EXPORT;
    }
    if (f.size >= 2 && f.bytes[0] == 0x80 && f.bytes[1] >= 2 && f.bytes[1] <= 5) {
        return "a Python pickle (of PyTorch?): " EXPORT;
    }
    if (is_tensorflow(f)) {
        return "a TensorFlow graph: convert it with tf2onnx";
    }
    return describe_text(f);
}

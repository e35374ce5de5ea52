// Classes of images, from Go: classify IMAGE... Goroutines move between threads, which is fine: an
// instance serves one call at a time, of whatever thread; here they share a mutex.
package main

/*
#cgo LDFLAGS: -lnet
#include <stdlib.h>
#include "libnet.h"
*/
import "C"

import (
	"errors"
	"fmt"
	"os"
	"sync"
	"unsafe"
)

// Model is a network; any goroutine may call it.
type Model struct {
	lock sync.Mutex
	c    *C.HoneModel
}

// Class is what a picture may show.
type Class struct {
	Label string
	Score float64
}

// NewModel makes an instance; Close gives its memory back.
func NewModel() (*Model, error) {
	why := (*C.char)(C.malloc(256))
	defer C.free(unsafe.Pointer(why))
	m := C.hone_net_create(nil, why, 256)
	if m == nil {
		return nil, errors.New(C.GoString(why))
	}
	return &Model{c: m}, nil
}

// Close ends the instance.
func (m *Model) Close() { C.hone_net_destroy(m.c) }

// Classify gives a file's likeliest classes, the likeliest first.
func (m *Model) Classify(file string, top int) ([]Class, error) {
	m.lock.Lock()
	defer m.lock.Unlock()
	name := C.CString(file)
	defer C.free(unsafe.Pointer(name))
	raw := make([]C.HoneClass, top)
	n := C.hone_net_classify_file(m.c, name, C.int(top), &raw[0])
	if n < 0 {
		return nil, errors.New(C.GoString(C.hone_net_error(m.c)))
	}
	classes := make([]Class, n)
	for i := range classes {
		classes[i] = Class{C.GoString(raw[i].label), float64(raw[i].score)}
	}
	return classes, nil
}

func main() {
	model, err := NewModel()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	defer model.Close()
	bad := 0
	for _, file := range os.Args[1:] {
		classes, err := model.Classify(file, 3)
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			bad = 1
		}
		for _, c := range classes {
			fmt.Printf("%.4f %s\n", c.Score, c.Label)
		}
	}
	if bad != 0 {
		os.Exit(bad)
	}
}

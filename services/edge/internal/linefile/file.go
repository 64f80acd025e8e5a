package linefile

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/crc32"
	"os"
	"runtime/debug"
	"syscall"
)

// Map makes a file of size bytes, all of them zero, and returns its memory: what is
// written there is in the file, and stays when the process is killed. The file is
// written in full first: room that is not there must be an error here, and not the end
// of the process later. One that is at path already is an error.
func Map(path string, size int) (*os.File, []byte, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o600)
	if err != nil {
		return nil, nil, err
	}
	_, err = f.Write(make([]byte, size))
	if err == nil {
		var mem []byte
		if mem, err = syscall.Mmap(int(f.Fd()), 0, size, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_SHARED); err == nil {
			return f, mem, nil
		}
	}
	return nil, nil, errors.Join(err, f.Close(), os.Remove(path))
}

// A line ends with the checksum of what is before it, as its last member: after a loss
// of power, a part of it may be what was in its place before.
const (
	sumMember = `,"crc":"`
	sumEnd    = "\"}\n"
	sumDigits = 8
	// lineExtra is what a line has more than its object, whose brace it replaces.
	lineExtra = len(sumMember) + sumDigits + len(sumEnd) - 1
)

// file is lines in memory that is a file. Behind them are zeros.
type file struct {
	*os.File
	path string
	mem  []byte
	used int
	last int64 // the last number in it; -1: none
}

func makeFile(path string, size int) (*file, error) {
	f, mem, err := Map(path, size)
	if err != nil {
		return nil, err
	}
	return &file{File: f, path: path, mem: mem, last: -1}, nil
}

func (f *file) fits(object []byte) bool { return len(object)+lineExtra <= len(f.mem)-f.used }

// append adds an object that fits, as a line.
func (f *file) append(object []byte) error {
	var tail [lineExtra + 1]byte
	end := append(appendSum(append(tail[:0], sumMember...), object[:len(object)-1]), sumEnd...)
	err := guarded(func() {
		at := f.mem[f.used:]
		n := copy(at, object[:len(object)-1])
		copy(at[n:], end)
	})
	if err == nil {
		f.used += len(object) + lineExtra
	}
	return err
}

// clear takes all lines away.
func (f *file) clear() error {
	err := guarded(func() { clear(f.mem[:f.used]) })
	if err == nil {
		f.used, f.last = 0, -1
	}
	return err
}

// guarded makes an error of a disk that does not take what is written to memory: one
// that broke, or a file system that needs room to write anew what it has room for.
func guarded(write func()) (err error) {
	before := debug.SetPanicOnFault(true)
	defer func() {
		debug.SetPanicOnFault(before)
		if r := recover(); r != nil {
			fault, ok := r.(interface {
				error
				Addr() uintptr
			})
			if !ok {
				panic(r)
			}
			err = fmt.Errorf("the disk does not take it: %w", fault)
		}
	}()
	write()
	return nil
}

// end closes the file, which is as long as its lines then. Its memory must not be used
// any more.
func (f *file) end() error {
	return errors.Join(syscall.Munmap(f.mem), f.Truncate(int64(f.used)), f.Close())
}

// remove closes and deletes the file.
func (f *file) remove() error {
	err := os.Remove(f.path)
	if errors.Is(err, os.ErrNotExist) {
		err = nil
	}
	return errors.Join(err, syscall.Munmap(f.mem), f.Close())
}

// appendSum appends the digits of a text's checksum.
func appendSum(dst, text []byte) []byte {
	var sum [sumDigits / 2]byte
	binary.BigEndian.PutUint32(sum[:], crc32.ChecksumIEEE(text))
	return hex.AppendEncode(dst, sum[:])
}

// object returns what a line was made of; nil when it is torn. A line without a
// checksum is one of an earlier version.
func object(line []byte) []byte {
	line = bytes.TrimLeft(line, "\x00")
	at := len(line) - lineExtra - 1
	if at < 0 || !bytes.HasPrefix(line[at:], []byte(sumMember)) {
		return line
	}
	want := appendSum(nil, line[:at])
	if string(line[at+len(sumMember):]) != string(want)+sumEnd {
		return nil
	}
	line[at] = '}'
	return line[:at+1]
}

// Package smiletest reads Smile, for the tests of what writes it. It reads what
// the "Smile Data Format Specification", version 1.0, has of documents without
// references to earlier names and texts.
package smiletest

import (
	"bytes"
	"errors"
	"fmt"
	"math"
)

// Documents returns what stands before each separator, read.
func Documents(text []byte) ([]any, error) {
	var out []any
	for len(text) > 0 {
		one, rest, ended := bytes.Cut(text, []byte{0xFF})
		if !ended {
			return nil, errors.New("smiletest: the last document is not ended")
		}
		v, err := Read(one)
		if err != nil {
			return nil, fmt.Errorf("smiletest: document %d: %w", len(out), err)
		}
		out, text = append(out, v), rest
	}
	return out, nil
}

var errEnds = errors.New("it ends within")

// Read returns a document's value: map[string]any, []any, string, int64, float32
// or float64.
func Read(doc []byte) (any, error) {
	rest, ok := bytes.CutPrefix(doc, []byte{':', ')', '\n', 0})
	if !ok {
		return nil, errors.New("it has no head")
	}
	r := &reader{rest}
	v, err := r.value()
	if err == nil && len(r.rest) > 0 {
		err = fmt.Errorf("%d bytes are left", len(r.rest))
	}
	return v, err
}

type reader struct{ rest []byte }

func (r *reader) take(n int) ([]byte, error) {
	if len(r.rest) < n {
		return nil, errEnds
	}
	out := r.rest[:n]
	r.rest = r.rest[n:]
	return out, nil
}

func (r *reader) one() (byte, error) {
	b, err := r.take(1)
	if err != nil {
		return 0, err
	}
	return b[0], nil
}

// text reads n bytes; fewer than 0: up to their end.
func (r *reader) text(n int) (string, error) {
	if n >= 0 {
		b, err := r.take(n)
		return string(b), err
	}
	b, rest, ok := bytes.Cut(r.rest, []byte{0xFC})
	if !ok {
		return "", errEnds
	}
	r.rest = rest
	return string(b), nil
}

// bits reads n bytes of seven bits.
func (r *reader) bits(n int) (out uint64, err error) {
	b, err := r.take(n)
	for _, c := range b {
		if c > 0x7F {
			return 0, fmt.Errorf("byte %x has eight bits", c)
		}
		out = out<<7 | uint64(c)
	}
	return out, err
}

func (r *reader) value() (any, error) {
	t, err := r.one()
	switch {
	case err != nil:
		return nil, err
	case t == 0x20:
		return "", nil
	case 0x40 <= t && t < 0x80:
		return r.text(int(t-0x40) + 1)
	case t == 0xE0, t == 0xE4:
		return r.text(-1)
	case t == 0x24:
		n, err := r.integer()
		if err == nil && n != int64(int32(n)) {
			err = fmt.Errorf("%d is too wide", n)
		}
		return n, err
	case t == 0x25:
		n, err := r.integer()
		if err == nil && n == int64(int32(n)) {
			err = fmt.Errorf("%d is narrow", n) // Jackson reads five bytes
		}
		return n, err
	case t == 0x28:
		b, err := r.bits(5)
		return math.Float32frombits(uint32(b)), err
	case t == 0x29:
		b, err := r.bits(10)
		return math.Float64frombits(b), err
	case t == 0xF8:
		return r.array()
	case t == 0xFA:
		return r.object()
	default:
		return nil, fmt.Errorf("token %x", t)
	}
}

func (r *reader) integer() (int64, error) {
	for z := uint64(0); ; {
		b, err := r.one()
		if err != nil {
			return 0, err
		}
		if b&0x80 == 0 {
			z = z<<7 | uint64(b)
			continue
		}
		z = z<<6 | uint64(b&0x3F)
		return int64(z>>1) ^ -int64(z&1), nil
	}
}

func (r *reader) array() ([]any, error) {
	out := []any{}
	for {
		if bytes.HasPrefix(r.rest, []byte{0xF9}) {
			r.rest = r.rest[1:]
			return out, nil
		}
		v, err := r.value()
		if err != nil {
			return nil, err
		}
		out = append(out, v)
	}
}

func (r *reader) object() (map[string]any, error) {
	out := make(map[string]any)
	for {
		t, err := r.one()
		if err != nil {
			return nil, err
		}
		var name string
		switch {
		case t == 0xFB:
			return out, nil
		case t == 0x20:
		case t == 0x34:
			name, err = r.text(-1)
		case 0x80 <= t && t < 0xC0:
			name, err = r.text(int(t-0x80) + 1)
		default:
			err = fmt.Errorf("token %x of a name", t)
		}
		if err != nil {
			return nil, err
		}
		if _, ok := out[name]; ok {
			return nil, fmt.Errorf("name %q is there twice", name)
		}
		if out[name], err = r.value(); err != nil {
			return nil, err
		}
	}
}

// Package jsoniter stands in the place of github.com/json-iterator/go, of which
// bleve's geo package and gguf-parser-go use what encoding/json does as well.
package jsoniter

import (
	"encoding/json"
	"io"
	"unsafe"
)

// API encodes and decodes as encoding/json does.
type API struct{}

// ConfigCompatibleWithStandardLibrary is the only configuration.
var ConfigCompatibleWithStandardLibrary API

// Marshal returns v as JSON.
func (API) Marshal(v any) ([]byte, error) { return json.Marshal(v) }

// Unmarshal reads JSON into v, a pointer.
func (API) Unmarshal(data []byte, v any) error { return json.Unmarshal(data, v) }

// NewDecoder returns what reads JSON from r.
func (API) NewDecoder(r io.Reader) *json.Decoder { return json.NewDecoder(r) }

// ValueType is the kind of a value.
type ValueType int

// NumberValue is a number's.
const NumberValue ValueType = 2

// Iterator is what a decoder of a type would read from; there is never one.
type Iterator struct{}

// WhatIsNext returns the kind of the next value.
func (*Iterator) WhatIsNext() ValueType { return 0 }

// ReadVal reads nothing.
func (*Iterator) ReadVal(any) {}

// Read returns nothing.
func (*Iterator) Read() any { return nil }

// RegisterTypeDecoderFunc does nothing: gguf-parser-go would have numbers of unknown
// members as int64, in a cache and a client that are not used here.
func RegisterTypeDecoderFunc(string, func(unsafe.Pointer, *Iterator)) {}

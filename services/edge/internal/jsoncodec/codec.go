// Package jsoncodec writes proto messages as the JSON of the REST API, and
// reads them back. It is a codec of its own rather than protojson because
// OpenAI's API has members of more than one type, members that nobody knows
// yet and numbers that must stay numbers; the options of poterne.common.v1
// (json.proto) say where. It knows no message by name: what a message needs is
// worked out from its descriptor once. Start reading at Codec, then plan.
//
// The rules: members have the proto field names (lowerCamelCase is accepted
// where a message has no room for unknown members); 64-bit integers are JSON
// numbers, strings are accepted too where a message has no room for unknown
// members; enums go by name; null is the same as a
// missing member, but for union messages, which keep it; a member that comes
// twice is refused; a member that the message does not know is kept byte for
// byte where the message has a json_extra field and refused elsewhere.
package jsoncodec

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"

	"github.com/go-json-experiment/json/jsontext"
	"google.golang.org/protobuf/proto"

	"github.com/poterne/poterne/pkg/apierr"
	"github.com/poterne/poterne/pkg/jsonwalk"
)

// Options bound what a codec accepts. Zero fields take the defaults. The size
// of a document is the caller's to bound, who reads it.
type Options struct {
	// MaxDepth is how deep arrays and objects may nest; 128 by default.
	MaxDepth int
	// MaxExtra is how many unknown members one message may have; 256 by default.
	MaxExtra int
	// MaxItems is how many items a list may have whose field has no
	// repeated.max_items rule, and how many entries a map; 65536 by default.
	MaxItems int
	// MaxValues is how many messages, items and values a document may become, its
	// plain numbers apart, which cost next to nothing; 200000 by default. A message
	// in memory is many times as large as the two bytes it may come as.
	MaxValues int
	// MaxWellKnown is how many JSON values one member may hold that is a
	// well-known type: the metadata of one document, for instance; 10000 by default.
	MaxWellKnown int
}

// Codec reads and writes messages. It is safe for concurrent use.
type Codec struct {
	opts     Options
	plans    planner
	decoders sync.Pool // of *decoder
}

// New returns a codec.
func New(opts Options) *Codec {
	if opts.MaxDepth <= 0 {
		opts.MaxDepth = 128
	}
	if opts.MaxExtra <= 0 {
		opts.MaxExtra = 256
	}
	if opts.MaxItems <= 0 {
		opts.MaxItems = 1 << 16
	}
	if opts.MaxValues <= 0 {
		opts.MaxValues = 200_000
	}
	if opts.MaxWellKnown <= 0 {
		opts.MaxWellKnown = 10_000
	}
	c := &Codec{opts: opts}
	c.decoders.New = func() any { return &decoder{opts: opts, json: new(jsontext.Decoder)} }
	return c
}

// Unmarshal replaces the content of m by the JSON document data. What is wrong
// with the document is INVALID_ARGUMENT that names the member.
func (c *Codec) Unmarshal(data []byte, m proto.Message) error {
	_, err := c.UnmarshalAlike(data, m)
	return err
}

// UnmarshalAlike is Unmarshal that reports whether data is what Marshal would write of m
// but for the order of members; it may not be known of all that is.
func (c *Codec) UnmarshalAlike(data []byte, m proto.Message) (alike bool, err error) {
	p, err := c.plans.of(m.ProtoReflect().Descriptor())
	if err != nil {
		return false, err
	}
	proto.Reset(m)
	d, ok := c.decoders.Get().(*decoder)
	if !ok {
		return false, errors.New("jsoncodec: the pool holds no decoder") // New fills it with nothing else
	}
	defer c.decoders.Put(d)
	d.read(data)
	defer d.read(nil) // the pool must not hold on to the document
	if err := d.document(p); err != nil {
		return false, public(err)
	}
	if err := (proto.UnmarshalOptions{Merge: true, AllowPartial: true}).Unmarshal(d.wire, m); err != nil {
		return false, fmt.Errorf("jsoncodec: %s: %w", p.name, err)
	}
	return !d.differs && jsonwalk.Compact(data), nil
}

// Marshal returns m as JSON.
func (c *Codec) Marshal(m proto.Message) ([]byte, error) { return c.Append(nil, m) }

// firstBytes is what most messages fit into.
const firstBytes = 512

// Append appends m as JSON to dst. It fails when a RawJson or an unknown
// member, which only a gRPC client can have filled, is no JSON: with
// INVALID_ARGUMENT that names the member.
func (c *Codec) Append(dst []byte, m proto.Message) ([]byte, error) {
	r := m.ProtoReflect()
	p, err := c.plans.of(r.Descriptor())
	if err != nil {
		return dst, err
	}
	if !r.IsValid() {
		return append(dst, "null"...), nil
	}
	out, err := appendMessage(slices.Grow(dst, firstBytes), p, r)
	if err != nil {
		return dst, public(err)
	}
	return out, nil
}

// fault is what is wrong at one place of a document. The path grows on the way
// out, so that documents without faults pay nothing for it.
type fault struct {
	path []string // innermost first; an index is written [3]
	text string
}

func (f *fault) Error() string { return f.text }

func faultf(format string, args ...any) error {
	return &fault{text: fmt.Sprintf(format, args...)}
}

// at notes that err happened below the named member, or index.
func at(err error, segment string) error {
	if f, ok := errors.AsType[*fault](err); ok {
		f.path = append(f.path, segment)
	}
	return err
}

func atIndex(err error, i int) error { return at(err, fmt.Sprintf("[%d]", i)) }

// maxPath bounds the path in an error: member names come from outside.
const maxPath = 256

// public returns err as an error for the caller.
func public(err error) error {
	f, ok := errors.AsType[*fault](err)
	if !ok {
		return err
	}
	path := ""
	for _, segment := range slices.Backward(f.path) {
		if path != "" && segment[0] != '[' {
			path += "."
		}
		path += segment
	}
	if len(path) > maxPath {
		path = path[:maxPath] + "…"
	}
	if path == "" {
		return apierr.New(apierr.InvalidArgument, "the body %s", f.text)
	}
	return apierr.Invalid(path, "%s: %s", path, f.text)
}

// syntax says what jsontext found wrong with the document itself.
func syntax(err error) error {
	if errors.Is(err, jsontext.ErrDuplicateName) {
		if s, ok := errors.AsType[*jsontext.SyntacticError](err); ok {
			return at(faultf("comes twice"), segment(s.JSONPointer.LastToken()))
		}
		return faultf("has a member twice")
	}
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return faultf("is not valid JSON: it ends too early")
	}
	if s, ok := errors.AsType[*jsontext.SyntacticError](err); ok && s.Err != nil {
		return faultf("is not valid JSON: %v at byte %d", s.Err, s.ByteOffset)
	}
	return faultf("is not valid JSON")
}

// segment writes a member's name so that it can stand in a path.
func segment(name string) string {
	if len(name) > 64 {
		name = name[:64] + "…"
	}
	for i, r := range name {
		letter := r == '_' || 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z'
		if !letter && (i == 0 || r < '0' || r > '9') && r != '-' {
			return fmt.Sprintf("[%q]", name)
		}
	}
	if name == "" {
		return `[""]`
	}
	return name
}

// decoder is one use of the codec for reading.
type decoder struct {
	opts   Options
	src    bytes.Buffer // jsontext reads a Buffer's bytes in place
	json   *jsontext.Decoder
	wire   []byte // the message so far
	values int    // counted by Options.MaxValues

	differs bool // Marshal may write something of the document in another way
}

// maxKept is how many bytes a decoder in the pool keeps.
const maxKept = 64 << 10

func (d *decoder) read(data []byte) {
	d.src = *bytes.NewBuffer(data)
	d.json.Reset(&d.src)
	d.values, d.differs = 0, false
	if d.wire = d.wire[:0]; cap(d.wire) > maxKept {
		d.wire = nil
	}
}

func (d *decoder) document(p *plan) error {
	if kind := d.json.PeekKind(); p.form == formObject && kind != '{' {
		if kind == 0 {
			_, err := d.json.ReadToken()
			return syntax(err)
		}
		return faultf("must be a JSON object")
	}
	if err := d.message(p); err != nil {
		return err
	}
	if _, err := d.json.ReadToken(); !errors.Is(err, io.EOF) {
		return faultf("must be one JSON value and nothing after it")
	}
	return nil
}

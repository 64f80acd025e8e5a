package jsoncodec

import (
	"bytes"

	"github.com/go-json-experiment/json/jsontext"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
)

// A document becomes the message's own wire form first, which proto then reads by
// its tables: setting each member by reflection takes twice as long.

// message appends the next value as a message of plan p.
func (d *decoder) message(p *plan) error {
	if d.json.StackDepth() >= d.opts.MaxDepth {
		return faultf("nests deeper than %d levels", d.opts.MaxDepth)
	}
	if err := d.count(1); err != nil {
		return err
	}
	switch p.form {
	case formObject:
		return d.object(p)
	case formRaw:
		raw, err := d.raw()
		if err != nil {
			return err
		}
		d.wire = protowire.AppendBytes(protowire.AppendTag(d.wire, p.only.desc.Number(), protowire.BytesType), raw)
		return nil
	case formUnion:
		return d.union(p)
	case formList:
		return d.list(p.only)
	case formWellKnown:
		return d.known(p)
	default:
		return faultf("has no form")
	}
}

// known appends the next value, which protojson reads.
func (d *decoder) known(p *plan) error {
	d.differs = true // protojson writes in a form of its own
	raw, err := d.wellKnown()
	if err != nil {
		return err
	}
	if p.name == fieldMask {
		raw = camelCased(raw)
	}
	m := p.known.New().Interface()
	if err := (protojson.UnmarshalOptions{RecursionLimit: d.opts.MaxDepth + 1}).Unmarshal(raw, m); err != nil {
		return faultf("must be %s", WellKnownForm(p.name))
	}
	d.wire, err = proto.MarshalOptions{}.MarshalAppend(d.wire, m)
	return err
}

func (d *decoder) union(p *plan) error {
	kind := d.json.PeekKind()
	if kind == 'n' { // a union keeps null: a message with no member set
		return d.skip()
	}
	f := p.union[kind]
	if f == nil {
		return d.mismatch(p.wants)
	}
	return d.single(f)
}

func (d *decoder) object(p *plan) error {
	if d.json.PeekKind() != '{' {
		return d.mismatch("an object")
	}
	if err := d.skip(); err != nil {
		return err
	}
	var seen seen
	for {
		switch kind := d.json.PeekKind(); kind {
		case '}':
			d.missing(p, &seen)
			return d.skip()
		case '"':
		default:
			_, err := d.json.ReadToken()
			return syntax(err)
		}
		raw, err := d.json.ReadValue()
		if err != nil {
			return syntax(err)
		}
		name, err := unquoted(raw)
		if err != nil {
			return err
		}
		d.spelled(raw)
		if f := p.byName[string(name)]; f == nil {
			name := string(name)
			if err := d.unknown(p, &seen, name); err != nil {
				return at(err, segment(name))
			}
		} else {
			before := len(d.wire)
			d.differs = d.differs || string(name) != f.name
			if err := d.member(&seen, f); err != nil {
				return at(err, f.name)
			}
			d.filled(f, before)
		}
	}
}

// unquoted returns what is in a JSON string, in its own memory where it can.
func unquoted(raw jsontext.Value) ([]byte, error) {
	if plain(raw) {
		return raw[1 : len(raw)-1], nil
	}
	out, err := jsontext.AppendUnquote(nil, raw)
	if err != nil {
		return nil, syntax(err)
	}
	return out, nil
}

// plain reports whether a JSON string stands for what it is between its quotes.
func plain(raw jsontext.Value) bool { return bytes.IndexByte(raw, '\\') < 0 }

// seen notes which of a message's fields and oneofs came.
type seen struct {
	low    uint64 // the first 64 fields
	high   map[int]bool
	oneofs uint64
	extra  int // unknown members
}

// add notes field i and reports whether it is new.
func (s *seen) add(i int) bool {
	if i < 64 {
		was := s.low&(1<<i) != 0
		s.low |= 1 << i
		return !was
	}
	if s.high == nil {
		s.high = make(map[int]bool)
	}
	was := s.high[i]
	s.high[i] = true
	return !was
}

func (d *decoder) member(s *seen, f *field) error {
	if !s.add(f.index) {
		return faultf("comes twice, once in each spelling")
	}
	if d.json.PeekKind() == 'n' && !f.keepsNull() {
		d.differs = true // it is left out
		return d.skip()
	}
	if f.oneof >= 0 && f.oneof < 64 {
		if s.oneofs&(1<<f.oneof) != 0 {
			return faultf("excludes another member that is set")
		}
		s.oneofs |= 1 << f.oneof
	}
	switch {
	case f.isList:
		return d.list(f)
	case f.isMap:
		return d.mapping(f)
	default:
		return d.single(f)
	}
}

// keepsNull reports whether null is a value of the field.
func (f *field) keepsNull() bool {
	return !f.isList && !f.isMap && f.value.msg != nil &&
		(f.value.msg.form == formUnion || f.value.msg.name == "google.protobuf.Value")
}

func (d *decoder) unknown(p *plan, s *seen, name string) error {
	if p.extra == nil {
		return faultf("is not known here")
	}
	if err := p.distinct(name); err != nil {
		return err
	}
	raw, err := d.raw()
	if err != nil {
		return err
	}
	if s.extra++; s.extra > d.opts.MaxExtra {
		return faultf("is one unknown member too many: at most %d are passed on", d.opts.MaxExtra)
	}
	begun := d.begin(p.extra)
	d.wire = protowire.AppendString(protowire.AppendTag(d.wire, mapKey, protowire.BytesType), name)
	d.wire = protowire.AppendBytes(protowire.AppendTag(d.wire, mapValue, protowire.BytesType), raw)
	return d.end(begun)
}

func (d *decoder) single(f *field) error {
	if f.value.msg == nil {
		return d.scalar(f.desc.Number(), f.value)
	}
	begun := d.begin(f)
	if err := d.message(f.value.msg); err != nil {
		return err
	}
	return d.end(begun)
}

func (d *decoder) list(f *field) error {
	if d.json.PeekKind() != '[' {
		return d.mismatch("an array")
	}
	if err := d.skip(); err != nil {
		return err
	}
	limit := f.maxItems
	if limit == 0 {
		limit = d.opts.MaxItems
	}
	for i := 0; ; i++ {
		kind := d.json.PeekKind()
		if kind == ']' {
			return d.skip()
		}
		if i >= limit {
			return faultf("must not have more than %d items", limit)
		}
		if err := d.item(f, kind); err != nil {
			return atIndex(err, i)
		}
	}
}

func (d *decoder) item(f *field, kind jsontext.Kind) error {
	if kind == 'n' {
		return faultf("must not be null")
	}
	if f.value.msg == nil && kind != '0' {
		if err := d.count(1); err != nil {
			return err
		}
	}
	return d.single(f)
}

func (d *decoder) mapping(f *field) error {
	if d.json.PeekKind() != '{' {
		return d.mismatch("an object")
	}
	d.differs = true // which members count is the map's to say
	if err := d.skip(); err != nil {
		return err
	}
	limit := f.maxItems
	if limit == 0 {
		limit = d.opts.MaxItems
	}
	for i := 0; ; i++ {
		if d.json.PeekKind() == '}' {
			return d.skip()
		}
		token, err := d.json.ReadToken()
		if err != nil {
			return syntax(err)
		}
		name := token.String()
		if i >= limit {
			return faultf("must not have more than %d entries", limit)
		}
		if err := d.entry(f, name); err != nil {
			return at(err, segment(name))
		}
	}
}

func (d *decoder) entry(f *field, name string) error {
	if d.json.PeekKind() == 'n' {
		return faultf("must not be null")
	}
	begun := d.begin(f)
	d.wire = protowire.AppendString(protowire.AppendTag(d.wire, mapKey, protowire.BytesType), name)
	if f.value.msg == nil {
		if err := d.count(1); err != nil {
			return err
		}
		if err := d.scalar(mapValue, f.value); err != nil {
			return err
		}
		return d.end(begun)
	}
	value := d.beginAs(mapValue)
	if err := d.message(f.value.msg); err != nil {
		return err
	}
	if err := d.end(value); err != nil {
		return err
	}
	return d.end(begun)
}

// The fields of a map's entry.
const (
	mapKey   protowire.Number = 1
	mapValue protowire.Number = 2
)

// lengthBytes is how wide a length is written: it comes before what it is of, and a
// varint may be wider than it must be.
const lengthBytes = 4

// begin appends the head of a message, or of a map's entry, of field f; end is given
// what it returns.
func (d *decoder) begin(f *field) int { return d.beginAs(f.desc.Number()) }

func (d *decoder) beginAs(n protowire.Number) int {
	d.wire = append(protowire.AppendTag(d.wire, n, protowire.BytesType), make([]byte, lengthBytes)...)
	return len(d.wire)
}

// end writes the length of what was appended since begin.
func (d *decoder) end(begun int) error {
	n := len(d.wire) - begun
	if n >= 1<<(7*lengthBytes) {
		return faultf("is too large")
	}
	for i := range lengthBytes {
		b := byte(n>>(7*i)) & 0x7f
		if i < lengthBytes-1 {
			b |= 0x80
		}
		d.wire[begun-lengthBytes+i] = b
	}
	return nil
}

// skip reads the token that PeekKind showed.
func (d *decoder) skip() error {
	if _, err := d.json.ReadToken(); err != nil {
		return syntax(err)
	}
	return nil
}

// mismatch says that the next value should have been want, unless there is no
// valid value at all.
func (d *decoder) mismatch(want string) error {
	if d.json.PeekKind() == 0 {
		_, err := d.json.ReadToken()
		return syntax(err)
	}
	return faultf("must be %s", want)
}

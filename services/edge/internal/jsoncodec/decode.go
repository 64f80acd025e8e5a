package jsoncodec

import (
	"github.com/go-json-experiment/json/jsontext"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// message reads the next value into m.
func (d *decoder) message(p *plan, m protoreflect.Message) error {
	if d.json.StackDepth() >= d.opts.MaxDepth {
		return faultf("nests deeper than %d levels", d.opts.MaxDepth)
	}
	if err := d.count(1); err != nil {
		return err
	}
	switch p.form {
	case formObject:
		return d.object(p, m)
	case formRaw:
		raw, err := d.raw()
		if err != nil {
			return err
		}
		m.Set(p.only.desc, protoreflect.ValueOfString(string(raw)))
		return nil
	case formUnion:
		return d.union(p, m)
	case formList:
		return d.list(p.only, m)
	case formWellKnown:
		raw, err := d.wellKnown()
		if err != nil {
			return err
		}
		if p.name == fieldMask {
			raw = camelCased(raw)
		}
		if err := (protojson.UnmarshalOptions{RecursionLimit: d.opts.MaxDepth + 1}).Unmarshal(raw, m.Interface()); err != nil {
			return faultf("must be %s", wellKnownForm(p.name))
		}
		return nil
	default:
		return faultf("has no form")
	}
}

func (d *decoder) union(p *plan, m protoreflect.Message) error {
	kind := d.json.PeekKind()
	if kind == 'n' { // a union keeps null: a message with no member set
		return d.skip()
	}
	f := p.union[kind]
	if f == nil {
		return d.mismatch(p.wants)
	}
	return d.single(f, m)
}

func (d *decoder) object(p *plan, m protoreflect.Message) error {
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
			return d.skip()
		case '"':
		default:
			_, err := d.json.ReadToken()
			return syntax(err)
		}
		token, err := d.json.ReadToken()
		if err != nil {
			return syntax(err)
		}
		name := token.String()
		f := p.byName[name]
		if f == nil {
			if err := d.unknown(p, m, name); err != nil {
				return at(err, segment(name))
			}
			continue
		}
		if err := d.member(&seen, f, m); err != nil {
			return at(err, f.name)
		}
	}
}

// seen notes which of a message's fields and oneofs came.
type seen struct {
	low    uint64 // the first 64 fields
	high   map[int]bool
	oneofs uint64
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

func (d *decoder) member(s *seen, f *field, m protoreflect.Message) error {
	if !s.add(f.index) {
		return faultf("comes twice, once in each spelling")
	}
	if d.json.PeekKind() == 'n' && !f.keepsNull() {
		return d.skip()
	}
	if f.oneof >= 0 && f.oneof < 64 {
		if s.oneofs&(1<<f.oneof) != 0 {
			return faultf("excludes another member that is set")
		}
		s.oneofs |= 1 << f.oneof
	}
	switch {
	case f.desc.IsList():
		return d.list(f, m)
	case f.desc.IsMap():
		return d.mapping(f, m)
	default:
		return d.single(f, m)
	}
}

// keepsNull reports whether null is a value of the field.
func (f *field) keepsNull() bool {
	return !f.desc.IsList() && !f.desc.IsMap() && f.value.msg != nil &&
		(f.value.msg.form == formUnion || f.value.msg.name == "google.protobuf.Value")
}

func (d *decoder) unknown(p *plan, m protoreflect.Message, name string) error {
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
	extra := m.Mutable(p.extra.desc).Map()
	if extra.Len() >= d.opts.MaxExtra {
		return faultf("is one unknown member too many: at most %d are passed on", d.opts.MaxExtra)
	}
	extra.Set(protoreflect.ValueOfString(name).MapKey(), protoreflect.ValueOfString(string(raw)))
	return nil
}

func (d *decoder) single(f *field, m protoreflect.Message) error {
	if f.value.msg != nil {
		return d.message(f.value.msg, m.Mutable(f.desc).Message())
	}
	v, err := d.scalar(f.value)
	if err != nil {
		return err
	}
	m.Set(f.desc, v)
	return nil
}

func (d *decoder) list(f *field, m protoreflect.Message) error {
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
	list := m.Mutable(f.desc).List()
	for i := 0; ; i++ {
		kind := d.json.PeekKind()
		if kind == ']' {
			return d.skip()
		}
		if i >= limit {
			return faultf("must not have more than %d items", limit)
		}
		if err := d.item(f, list, kind); err != nil {
			return atIndex(err, i)
		}
	}
}

func (d *decoder) item(f *field, list protoreflect.List, kind jsontext.Kind) error {
	if kind == 'n' {
		return faultf("must not be null")
	}
	if f.value.msg != nil {
		el := list.NewElement()
		if err := d.message(f.value.msg, el.Message()); err != nil {
			return err
		}
		list.Append(el)
		return nil
	}
	if kind != '0' {
		if err := d.count(1); err != nil {
			return err
		}
	}
	v, err := d.scalar(f.value)
	if err != nil {
		return err
	}
	list.Append(v)
	return nil
}

func (d *decoder) mapping(f *field, m protoreflect.Message) error {
	if d.json.PeekKind() != '{' {
		return d.mismatch("an object")
	}
	if err := d.skip(); err != nil {
		return err
	}
	limit := f.maxItems
	if limit == 0 {
		limit = d.opts.MaxItems
	}
	entries := m.Mutable(f.desc).Map()
	for {
		if d.json.PeekKind() == '}' {
			return d.skip()
		}
		token, err := d.json.ReadToken()
		if err != nil {
			return syntax(err)
		}
		name := token.String()
		if entries.Len() >= limit {
			return faultf("must not have more than %d entries", limit)
		}
		if err := d.entry(f, entries, name); err != nil {
			return at(err, segment(name))
		}
	}
}

func (d *decoder) entry(f *field, entries protoreflect.Map, name string) error {
	if d.json.PeekKind() == 'n' {
		return faultf("must not be null")
	}
	key := protoreflect.ValueOfString(name).MapKey()
	if f.value.msg != nil {
		v := entries.NewValue()
		if err := d.message(f.value.msg, v.Message()); err != nil {
			return err
		}
		entries.Set(key, v)
		return nil
	}
	if err := d.count(1); err != nil {
		return err
	}
	v, err := d.scalar(f.value)
	if err != nil {
		return err
	}
	entries.Set(key, v)
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

package jsoncodec

import (
	"encoding/base64"
	"math"
	"strconv"
	"strings"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// scalar appends the next value as field n, whose type is v, which is no message.
func (d *decoder) scalar(n protowire.Number, v value) error {
	switch v.kind {
	case protoreflect.StringKind:
		return d.appendText(n)
	case protoreflect.BoolKind:
		if k := d.json.PeekKind(); k != 't' && k != 'f' {
			return d.mismatch("true or false")
		}
		token, err := d.json.ReadToken()
		if err != nil {
			return syntax(err)
		}
		d.varint(n, protowire.EncodeBool(token.Bool()))
		return nil
	case protoreflect.BytesKind:
		b, err := d.bytes()
		d.wire = protowire.AppendBytes(protowire.AppendTag(d.wire, n, protowire.BytesType), b)
		return err
	case protoreflect.EnumKind:
		e, err := d.enum(v.enum)
		d.varint(n, uint64(e))
		return err
	case protoreflect.DoubleKind:
		f, err := d.float(64)
		d.fixed64(n, math.Float64bits(f))
		return err
	case protoreflect.FloatKind:
		f, err := d.float(32)
		d.fixed32(n, math.Float32bits(float32(f)))
		return err
	case protoreflect.MessageKind, protoreflect.GroupKind:
		return faultf("is no scalar")
	default:
		return d.whole(n, v)
	}
}

// whole appends a whole number.
func (d *decoder) whole(n protowire.Number, v value) error {
	var i int64
	var err error
	switch v.kind {
	case protoreflect.Int32Kind, protoreflect.Sint32Kind, protoreflect.Sfixed32Kind:
		i, err = d.integer(v, math.MinInt32, math.MaxInt32)
	case protoreflect.Int64Kind, protoreflect.Sint64Kind, protoreflect.Sfixed64Kind:
		i, err = d.integer(v, math.MinInt64, math.MaxInt64)
	case protoreflect.Uint32Kind, protoreflect.Fixed32Kind:
		i, err = d.integer(v, 0, math.MaxUint32)
	case protoreflect.Uint64Kind, protoreflect.Fixed64Kind:
		var u uint64
		u, err = d.unsigned(v)
		i = int64(u)
	default:
		return faultf("has a type that is not known")
	}
	if err != nil {
		return err
	}
	switch v.kind {
	case protoreflect.Sint32Kind, protoreflect.Sint64Kind:
		d.varint(n, protowire.EncodeZigZag(i))
	case protoreflect.Fixed32Kind, protoreflect.Sfixed32Kind:
		d.fixed32(n, uint32(i))
	case protoreflect.Fixed64Kind, protoreflect.Sfixed64Kind:
		d.fixed64(n, uint64(i))
	default:
		d.varint(n, uint64(i))
	}
	return nil
}

func (d *decoder) varint(n protowire.Number, v uint64) {
	d.wire = protowire.AppendVarint(protowire.AppendTag(d.wire, n, protowire.VarintType), v)
}

func (d *decoder) fixed32(n protowire.Number, v uint32) {
	d.wire = protowire.AppendFixed32(protowire.AppendTag(d.wire, n, protowire.Fixed32Type), v)
}

func (d *decoder) fixed64(n protowire.Number, v uint64) {
	d.wire = protowire.AppendFixed64(protowire.AppendTag(d.wire, n, protowire.Fixed64Type), v)
}

// appendText appends the next value, a string, as field n.
func (d *decoder) appendText(n protowire.Number) error {
	if d.json.PeekKind() != '"' {
		return d.mismatch("a string")
	}
	raw, err := d.json.ReadValue()
	if err != nil {
		return syntax(err)
	}
	text, err := unquoted(raw)
	d.spelled(raw)
	d.wire = protowire.AppendBytes(protowire.AppendTag(d.wire, n, protowire.BytesType), text)
	return err
}

func (d *decoder) text(want string) (string, error) {
	if d.json.PeekKind() != '"' {
		return "", d.mismatch(want)
	}
	token, err := d.json.ReadToken()
	if err != nil {
		return "", syntax(err)
	}
	return token.String(), nil
}

func (d *decoder) bytes() ([]byte, error) {
	d.differs = true // other texts may mean the same bytes
	s, err := d.text("a base64 string")
	if err != nil {
		return nil, err
	}
	b, err := base64.StdEncoding.Strict().DecodeString(s)
	if err != nil {
		return nil, faultf("must be a base64 string")
	}
	return b, nil
}

// enum reads an enum by its value's name; a number is accepted for values that
// are defined.
func (d *decoder) enum(ed protoreflect.EnumDescriptor) (protoreflect.EnumNumber, error) {
	values := ed.Values()
	d.differs = true // a value may have several names
	if d.json.PeekKind() == '0' {
		n, err := d.integer(value{}, math.MinInt32, math.MaxInt32)
		if err != nil {
			return 0, err
		}
		if v := values.ByNumber(protoreflect.EnumNumber(n)); v != nil {
			return v.Number(), nil
		}
		return 0, faultf("must be %s", EnumForm(values))
	}
	s, err := d.text(EnumForm(values))
	if err != nil {
		return 0, err
	}
	v := values.ByName(protoreflect.Name(s))
	if v == nil {
		return 0, faultf("must be %s", EnumForm(values))
	}
	return v.Number(), nil
}

// EnumForm says what a value of an enum looks like as JSON.
func EnumForm(values protoreflect.EnumValueDescriptors) string {
	names := make([]string, 0, values.Len())
	for i := range values.Len() {
		if v := values.Get(i); v.Number() != 0 || values.Len() == 1 {
			names = append(names, string(v.Name()))
		}
	}
	return "one of " + strings.Join(names, ", ")
}

func (d *decoder) float(bits int) (float64, error) {
	if d.json.PeekKind() != '0' {
		return 0, d.mismatch("a number")
	}
	raw, err := d.json.ReadValue()
	if err != nil {
		return 0, syntax(err)
	}
	f, err := strconv.ParseFloat(string(raw), bits)
	if err != nil {
		return 0, faultf("must be a number that fits %d bits", bits)
	}
	d.figures(raw, f, bits)
	return f, nil
}

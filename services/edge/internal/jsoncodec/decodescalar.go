package jsoncodec

import (
	"encoding/base64"
	"errors"
	"math"
	"strconv"
	"strings"

	"google.golang.org/protobuf/reflect/protoreflect"
)

// scalar reads the next value as v, which is no message.
func (d *decoder) scalar(v value) (protoreflect.Value, error) {
	switch v.kind {
	case protoreflect.StringKind:
		s, err := d.text("a string")
		return protoreflect.ValueOfString(s), err
	case protoreflect.BoolKind:
		if k := d.json.PeekKind(); k != 't' && k != 'f' {
			return protoreflect.Value{}, d.mismatch("true or false")
		}
		token, err := d.json.ReadToken()
		if err != nil {
			return protoreflect.Value{}, syntax(err)
		}
		return protoreflect.ValueOfBool(token.Bool()), nil
	case protoreflect.BytesKind:
		return d.bytes()
	case protoreflect.EnumKind:
		return d.enum(v.enum)
	case protoreflect.DoubleKind:
		f, err := d.float(64)
		return protoreflect.ValueOfFloat64(f), err
	case protoreflect.FloatKind:
		f, err := d.float(32)
		return protoreflect.ValueOfFloat32(float32(f)), err
	case protoreflect.Int32Kind, protoreflect.Sint32Kind, protoreflect.Sfixed32Kind:
		n, err := d.integer(v, math.MinInt32, math.MaxInt32)
		return protoreflect.ValueOfInt32(int32(n)), err
	case protoreflect.Int64Kind, protoreflect.Sint64Kind, protoreflect.Sfixed64Kind:
		n, err := d.integer(v, math.MinInt64, math.MaxInt64)
		return protoreflect.ValueOfInt64(n), err
	case protoreflect.Uint32Kind, protoreflect.Fixed32Kind:
		n, err := d.integer(v, 0, math.MaxUint32)
		return protoreflect.ValueOfUint32(uint32(n)), err
	case protoreflect.Uint64Kind, protoreflect.Fixed64Kind:
		n, err := d.unsigned(v)
		return protoreflect.ValueOfUint64(n), err
	case protoreflect.MessageKind, protoreflect.GroupKind:
		return protoreflect.Value{}, faultf("is no scalar")
	default:
		return protoreflect.Value{}, faultf("has a type that is not known")
	}
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

func (d *decoder) bytes() (protoreflect.Value, error) {
	s, err := d.text("a base64 string")
	if err != nil {
		return protoreflect.Value{}, err
	}
	b, err := base64.StdEncoding.Strict().DecodeString(s)
	if err != nil {
		return protoreflect.Value{}, faultf("must be a base64 string")
	}
	return protoreflect.ValueOfBytes(b), nil
}

// enum reads an enum by its value's name; a number is accepted for values that
// are defined.
func (d *decoder) enum(ed protoreflect.EnumDescriptor) (protoreflect.Value, error) {
	values := ed.Values()
	if d.json.PeekKind() == '0' {
		n, err := d.integer(value{}, math.MinInt32, math.MaxInt32)
		if err != nil {
			return protoreflect.Value{}, err
		}
		if v := values.ByNumber(protoreflect.EnumNumber(n)); v != nil {
			return protoreflect.ValueOfEnum(v.Number()), nil
		}
		return protoreflect.Value{}, faultf("must be %s", enumNames(values))
	}
	s, err := d.text(enumNames(values))
	if err != nil {
		return protoreflect.Value{}, err
	}
	v := values.ByName(protoreflect.Name(s))
	if v == nil {
		return protoreflect.Value{}, faultf("must be %s", enumNames(values))
	}
	return protoreflect.ValueOfEnum(v.Number()), nil
}

func enumNames(values protoreflect.EnumValueDescriptors) string {
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
	return f, nil
}

// number reads a JSON number, or a string that holds one where v may come so.
func (d *decoder) number(v value) (string, error) {
	switch kind := d.json.PeekKind(); {
	case kind == '0':
		raw, err := d.json.ReadValue()
		if err != nil {
			return "", syntax(err)
		}
		return string(raw), nil
	case kind == '"' && v.quoted:
		return d.text(wholeNumber)
	default:
		return "", d.mismatch(wholeNumber)
	}
}

const wholeNumber = "a whole number"

// exactFloat is the largest size up to which a double tells all integers apart.
const exactFloat = 1 << 53

func (d *decoder) integer(v value, lowest, highest int64) (int64, error) {
	text, err := d.number(v)
	if err != nil {
		return 0, err
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		// 1.0 and 1e3 are whole numbers too.
		f, ferr := strconv.ParseFloat(text, 64)
		switch {
		case ferr != nil && !errors.Is(ferr, strconv.ErrRange), f != math.Trunc(f):
			return 0, faultf("must be " + wholeNumber)
		case math.Abs(f) > exactFloat || !strings.ContainsAny(text, ".eE"):
			return 0, outOfRange(f < 0, lowest, highest)
		}
		n = int64(f)
	}
	if n < lowest || n > highest {
		return 0, outOfRange(n < 0, lowest, highest)
	}
	return n, nil
}

// outOfRange says how large a number may be, or how small.
func outOfRange(negative bool, lowest, highest int64) error {
	if negative {
		return faultf("must be a whole number, %d or more", lowest)
	}
	return faultf("must be a whole number, %d or less", highest)
}

func (d *decoder) unsigned(v value) (uint64, error) {
	text, err := d.number(v)
	if err != nil {
		return 0, err
	}
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		return 0, faultf("must be a whole number from 0 to %d", uint64(math.MaxUint64))
	}
	return n, nil
}

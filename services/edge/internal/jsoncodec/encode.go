package jsoncodec

import (
	"encoding/base64"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"

	"github.com/go-json-experiment/json/jsontext"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/reflect/protoreflect"

	commonv1 "github.com/poterne/poterne/proto/gen/poterne/common/v1"
	"github.com/poterne/poterne/services/edge/internal/jsonmember"
)

func appendMessage(dst []byte, p *plan, m protoreflect.Message) ([]byte, error) {
	switch p.form {
	case formObject:
		return appendObject(dst, p, m)
	case formRaw:
		return appendRaw(dst, m.Get(p.only.desc).String())
	case formUnion:
		for _, f := range p.fields {
			if m.Has(f.desc) {
				return appendValue(dst, f.value, m.Get(f.desc))
			}
		}
		return append(dst, "null"...), nil
	case formList:
		return appendList(dst, p.only, m.Get(p.only.desc).List())
	case formWellKnown:
		raw, err := protojson.Marshal(m.Interface())
		if err != nil {
			return dst, fmt.Errorf("jsoncodec: %s: %w", p.name, err)
		}
		v := jsontext.Value(raw) // protojson spaces its output at random
		if err := v.Compact(); err != nil {
			return dst, fmt.Errorf("jsoncodec: %s: %w", p.name, err)
		}
		return append(dst, v...), nil
	default:
		return dst, fmt.Errorf("jsoncodec: %s has no form", p.name)
	}
}

// appendRaw appends JSON text that was kept, or came from a gRPC client: only
// valid text may pass, or a client could write members of its own choice into
// the document.
func appendRaw(dst []byte, text string) ([]byte, error) {
	start := len(dst)
	dst = append(dst, text...)
	if !jsontext.Value(dst[start:]).IsValid() {
		return dst[:start], faultf("must be JSON text of one value")
	}
	return dst, nil
}

// Object returns unknown members, name to JSON text, as a JSON object; nil when
// there are none. A member that is no JSON is INVALID_ARGUMENT.
func Object(members map[string]string) ([]byte, error) {
	if len(members) == 0 {
		return nil, nil
	}
	dst := []byte{'{'}
	for i, name := range slices.Sorted(maps.Keys(members)) {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = append(appendString(dst, name), ':')
		var err error
		if dst, err = appendRaw(dst, members[name]); err != nil {
			return nil, public(at(err, segment(name)))
		}
	}
	return append(dst, '}'), nil
}

func appendObject(dst []byte, p *plan, m protoreflect.Message) ([]byte, error) {
	dst = append(dst, '{')
	start := len(dst)
	for _, f := range p.fields {
		there := m.Has(f.desc)
		if !there && f.absent {
			continue
		}
		if len(dst) > start {
			dst = append(dst, ',')
		}
		dst = append(dst, f.prefix...)
		if !there && f.emit == commonv1.JsonEmit_JSON_EMIT_NULL {
			dst = append(dst, "null"...)
			continue
		}
		var err error
		if dst, err = appendMember(dst, f, m.Get(f.desc)); err != nil {
			return dst, at(err, f.name)
		}
	}
	if p.extra == nil || !m.Has(p.extra.desc) {
		return append(dst, '}'), nil
	}
	return appendExtra(dst, start, p, m.Get(p.extra.desc).Map())
}

func appendExtra(dst []byte, start int, p *plan, extra protoreflect.Map) ([]byte, error) {
	names := make([]string, 0, extra.Len())
	extra.Range(func(k protoreflect.MapKey, _ protoreflect.Value) bool {
		if _, known := p.byName[k.String()]; !known { // the typed field has the say
			names = append(names, k.String())
		}
		return true
	})
	slices.Sort(names)
	for _, name := range names {
		if err := p.distinct(name); err != nil { // callers of gRPC name members as they like
			return dst, at(err, segment(name))
		}
		if len(dst) > start {
			dst = append(dst, ',')
		}
		dst = append(appendString(dst, name), ':')
		var err error
		raw := extra.Get(protoreflect.ValueOfString(name).MapKey()).String()
		if dst, err = appendRaw(dst, raw); err != nil {
			return dst, at(err, segment(name))
		}
	}
	return append(dst, '}'), nil
}

// appendMember appends the value of a member.
func appendMember(dst []byte, f *field, v protoreflect.Value) ([]byte, error) {
	switch {
	case f.isList:
		return appendList(dst, f, v.List())
	case f.isMap:
		return appendMap(dst, f, v.Map())
	default:
		return appendValue(dst, f.value, v)
	}
}

func appendList(dst []byte, f *field, list protoreflect.List) ([]byte, error) {
	dst = append(dst, '[')
	for i := range list.Len() {
		if i > 0 {
			dst = append(dst, ',')
		}
		var err error
		if dst, err = appendValue(dst, f.value, list.Get(i)); err != nil {
			return dst, atIndex(err, i)
		}
	}
	return append(dst, ']'), nil
}

func appendMap(dst []byte, f *field, entries protoreflect.Map) ([]byte, error) {
	names := make([]string, 0, entries.Len())
	entries.Range(func(k protoreflect.MapKey, _ protoreflect.Value) bool {
		names = append(names, k.String())
		return true
	})
	slices.Sort(names)
	dst = append(dst, '{')
	for i, name := range names {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = append(appendString(dst, name), ':')
		var err error
		v := entries.Get(protoreflect.ValueOfString(name).MapKey())
		if dst, err = appendValue(dst, f.value, v); err != nil {
			return dst, at(err, segment(name))
		}
	}
	return append(dst, '}'), nil
}

func appendValue(dst []byte, v value, pv protoreflect.Value) ([]byte, error) {
	switch v.kind {
	case protoreflect.MessageKind, protoreflect.GroupKind:
		return appendMessage(dst, v.msg, pv.Message())
	case protoreflect.StringKind:
		return appendString(dst, pv.String()), nil
	case protoreflect.BoolKind:
		return strconv.AppendBool(dst, pv.Bool()), nil
	case protoreflect.BytesKind:
		dst = append(dst, '"')
		dst = base64.StdEncoding.AppendEncode(dst, pv.Bytes())
		return append(dst, '"'), nil
	case protoreflect.EnumKind:
		if ev := v.enum.Values().ByNumber(pv.Enum()); ev != nil {
			return appendString(dst, string(ev.Name())), nil
		}
		return strconv.AppendInt(dst, int64(pv.Enum()), 10), nil
	case protoreflect.DoubleKind:
		return appendFloat(dst, pv.Float(), 64), nil
	case protoreflect.FloatKind:
		return appendFloat(dst, pv.Float(), 32), nil
	case protoreflect.Uint32Kind, protoreflect.Fixed32Kind, protoreflect.Uint64Kind, protoreflect.Fixed64Kind:
		return strconv.AppendUint(dst, pv.Uint(), 10), nil
	case protoreflect.Int32Kind, protoreflect.Sint32Kind, protoreflect.Sfixed32Kind,
		protoreflect.Int64Kind, protoreflect.Sint64Kind, protoreflect.Sfixed64Kind:
		return strconv.AppendInt(dst, pv.Int(), 10), nil
	default:
		return dst, fmt.Errorf("jsoncodec: kind %v is not known", v.kind)
	}
}

// appendString never fails: what is not UTF-8, which proto refuses before,
// would be replaced.
func appendString(dst []byte, s string) []byte { return jsonmember.Quote(dst, s) }

// appendFloat writes as ECMAScript does (RFC 8785, section 3.2.2.3); what JSON
// has no number for goes as a string, as in protojson.
func appendFloat(dst []byte, f float64, bits int) []byte {
	switch {
	case math.IsNaN(f):
		return append(dst, `"NaN"`...)
	case math.IsInf(f, 1):
		return append(dst, `"Infinity"`...)
	case math.IsInf(f, -1):
		return append(dst, `"-Infinity"`...)
	}
	format := byte('f')
	if a := math.Abs(f); a != 0 && (bits == 64 && (a < 1e-6 || a >= 1e21) ||
		bits == 32 && (float32(a) < 1e-6 || float32(a) >= 1e21)) {
		format = 'e'
	}
	dst = strconv.AppendFloat(dst, f, format, -1, bits)
	if n := len(dst); format == 'e' && n >= 4 && dst[n-4] == 'e' && dst[n-3] == '-' && dst[n-2] == '0' {
		dst[n-2] = dst[n-1] // e-09 becomes e-9
		dst = dst[:n-1]
	}
	return dst
}

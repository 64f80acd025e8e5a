package config

import (
	"encoding"
	"errors"
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"time"
)

// maxSecretBytes is the size above which a file is not taken for a secret.
const maxSecretBytes = 64 << 10

// setText sets s from an environment variable or a flag, named by source.
func setText(p *Problems, source string, s setting, text string) {
	trimmed := strings.TrimSpace(text)
	kind := s.v.Kind()
	compound := !isText(s.v.Type()) && (kind == reflect.Slice || kind == reflect.Map || kind == reflect.Pointer)
	switch {
	case !compound:
		if err := setScalar(s.v, text); err != nil {
			p.AddAt(source, s.path, "%v", err)
		}
	case strings.HasPrefix(trimmed, "[") || strings.HasPrefix(trimmed, "{"):
		setYAML(p, source, s, trimmed)
	case kind == reflect.Slice:
		setList(p, source, s, trimmed)
	case kind == reflect.Map:
		setMap(p, source, s, trimmed)
	default:
		v := reflect.New(s.v.Type().Elem())
		if err := setScalar(v.Elem(), text); err != nil {
			p.AddAt(source, s.path, "%v", err)
			return
		}
		s.v.Set(v)
	}
}

// setYAML reads the value as a YAML flow list or map, with the file's rules.
func setYAML(p *Problems, source string, s setting, text string) {
	wrapper := reflect.New(reflect.StructOf([]reflect.StructField{{
		Name: "Value", Type: s.v.Type(), Tag: `yaml:"value"`,
	}})).Elem()
	wrapper.Field(0).Set(s.v)
	var inner Problems
	d := decoder{problems: &inner, file: "$" + source}
	d.document(section{wrapper}, []byte("value: "+text))
	for _, problem := range inner.list {
		path := s.path + strings.TrimPrefix(problem.Path, "value")
		p.AddAt(source, path, "%s", problem.Message)
	}
	if len(inner.list) == 0 {
		s.v.Set(wrapper.Field(0))
	}
}

func setList(p *Problems, source string, s setting, text string) {
	var parts []string
	if text != "" {
		parts = strings.Split(text, ",")
	}
	out := reflect.MakeSlice(s.v.Type(), len(parts), len(parts))
	for i, part := range parts {
		if err := setScalar(out.Index(i), strings.TrimSpace(part)); err != nil {
			p.AddAt(source, fmt.Sprintf("%s[%d]", s.path, i), "%v", err)
			return
		}
	}
	s.v.Set(out)
}

func setMap(p *Problems, source string, s setting, text string) {
	t := s.v.Type()
	out := reflect.MakeMap(t)
	if text != "" && t.Key().Kind() == reflect.String {
		for part := range strings.SplitSeq(text, ",") {
			key, value, ok := strings.Cut(strings.TrimSpace(part), "=")
			if !ok {
				p.AddAt(source, s.path, "must be written key=value,key=value")
				return
			}
			item := reflect.New(t.Elem()).Elem()
			if err := setScalar(item, strings.TrimSpace(value)); err != nil {
				p.AddAt(source, join(s.path, key), "%v", err)
				return
			}
			out.SetMapIndex(reflect.ValueOf(strings.TrimSpace(key)).Convert(t.Key()), item)
		}
	}
	s.v.Set(out)
}

func setSecretFile(p *Problems, source string, s setting, path string) {
	data, err := readLimited(path, maxSecretBytes)
	if err != nil {
		p.AddAt(source, s.path, "its file %s %v", path, err)
		return
	}
	s.v.SetString(strings.TrimRight(string(data), "\r\n"))
}

// setScalar sets v from text. Its errors do not repeat a secret.
func setScalar(v reflect.Value, text string) error {
	t := v.Type()
	wrong := func() error { return fmt.Errorf("must be %s, got %q", describe(t), clip(text)) }
	switch {
	case isSecret(t):
		v.SetString(text)
		return nil
	case isText(t):
		u, ok := reflect.TypeAssert[encoding.TextUnmarshaler](v.Addr())
		if !ok {
			return wrong()
		}
		return u.UnmarshalText([]byte(text))
	case t == reflect.TypeFor[time.Duration]():
		d, err := time.ParseDuration(text)
		if err != nil {
			return wrong()
		}
		v.SetInt(int64(d))
		return nil
	}
	var err error
	switch t.Kind() {
	case reflect.String:
		v.SetString(text)
	case reflect.Bool:
		switch text {
		case "true":
			v.SetBool(true)
		case "false":
			v.SetBool(false)
		default:
			return wrong()
		}
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		var n int64
		if n, err = strconv.ParseInt(text, 10, t.Bits()); err == nil {
			v.SetInt(n)
		}
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		var n uint64
		if n, err = strconv.ParseUint(text, 10, t.Bits()); err == nil {
			v.SetUint(n)
		}
	case reflect.Float32, reflect.Float64:
		var n float64
		if n, err = strconv.ParseFloat(text, t.Bits()); err == nil {
			v.SetFloat(n)
		}
	default:
		return fmt.Errorf("cannot be set from a text: it is %s", describe(t))
	}
	switch {
	case errors.Is(err, strconv.ErrRange):
		return fmt.Errorf("is out of range: %s", clip(text))
	case err != nil:
		return wrong()
	}
	return nil
}

// clip keeps a value short enough for a message.
func clip(text string) string {
	const most = 60
	if len(text) > most {
		return strings.ToValidUTF8(text[:most], "") + "…"
	}
	return text
}

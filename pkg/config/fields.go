package config

import (
	"encoding"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"time"
)

// section is a struct whose fields are settings or further sections.
type section struct{ v reflect.Value }

// field is one key of a section.
type field struct {
	name string
	v    reflect.Value
}

// setting is a leaf: a value that a text can set.
type setting struct {
	path string
	v    reflect.Value
}

func (s setting) isSecret() bool { return isSecret(s.v.Type()) }

func isSecret(t reflect.Type) bool {
	return t == reflect.TypeFor[Secret]() || t == reflect.TypeFor[SecretURL]()
}

func rootOf(dst any) (section, error) {
	v := reflect.ValueOf(dst)
	if v.Kind() != reflect.Pointer || v.IsNil() || v.Elem().Kind() != reflect.Struct {
		return section{}, errors.New("config: the destination must be a pointer to a struct")
	}
	return section{v.Elem()}, nil
}

// fields lists the keys of the section; those of an inline struct are its own.
func (s section) fields() []field {
	var out []field
	t := s.v.Type()
	for i := range t.NumField() {
		f := t.Field(i)
		tag, tagged := f.Tag.Lookup("yaml")
		if !f.IsExported() || !tagged || tag == "-" {
			continue
		}
		name, opts, _ := strings.Cut(tag, ",")
		if strings.Contains(","+opts+",", ",inline,") {
			out = append(out, section{s.v.Field(i)}.fields()...)
			continue
		}
		if name == "" {
			name = strings.ToLower(f.Name)
		}
		out = append(out, field{name, s.v.Field(i)})
	}
	return out
}

// settings lists every leaf below the section, depth first. A pointer to a
// struct is a section once it is set, and otherwise one leaf to be given whole.
func (s section) settings(prefix string) []setting {
	var out []setting
	for _, f := range s.fields() {
		path := join(prefix, f.name)
		v := f.v
		if v.Kind() == reflect.Pointer && !v.IsNil() && isSection(v.Type().Elem()) {
			v = v.Elem()
		}
		if isSection(v.Type()) {
			out = append(out, section{v}.settings(path)...)
			continue
		}
		out = append(out, setting{path, v})
	}
	return out
}

// isSection reports whether t is a struct that is not itself a text.
func isSection(t reflect.Type) bool {
	return t.Kind() == reflect.Struct && !isText(t)
}

func isText(t reflect.Type) bool {
	return reflect.PointerTo(t).Implements(reflect.TypeFor[encoding.TextUnmarshaler]())
}

func join(prefix, name string) string {
	if prefix == "" {
		return name
	}
	return prefix + "." + name
}

// describe names what values of t look like, for messages.
func describe(t reflect.Type) string {
	switch {
	case t == reflect.TypeFor[time.Duration]():
		return "a duration such as 5s or 1m30s"
	case t == reflect.TypeFor[Bytes]():
		return "a size such as 1MiB"
	case isText(t):
		return "a text"
	}
	switch t.Kind() {
	case reflect.Pointer:
		return describe(t.Elem())
	case reflect.Bool:
		return "true or false"
	case reflect.String:
		return "a text"
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		return "a whole number"
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return "a whole number, not negative"
	case reflect.Float32, reflect.Float64:
		return "a number"
	case reflect.Slice:
		return "a list"
	case reflect.Map, reflect.Struct:
		return "a section"
	default:
		return fmt.Sprintf("a %s", t)
	}
}

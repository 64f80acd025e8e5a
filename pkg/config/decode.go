package config

import (
	"errors"
	"fmt"
	"io"
	"reflect"
	"strings"

	"go.yaml.in/yaml/v3"
)

// The bounds on one file's shape, far above any real configuration: they keep
// YAML's aliases from growing a small file into a large one.
const (
	maxDepth = 32
	maxNodes = 100_000
)

// decoder walks one YAML document and sets what it names.
type decoder struct {
	problems *Problems
	file     string
	depth    int
	nodes    int
	full     bool // a bound was reached and reported
}

func (d *decoder) document(root section, data []byte) {
	dec := yaml.NewDecoder(strings.NewReader(string(data)))
	var doc yaml.Node
	switch err := dec.Decode(&doc); {
	case errors.Is(err, io.EOF):
		return // an empty file sets nothing
	case err != nil:
		d.problems.AddAt(d.file, "", "is not valid YAML: %s", yamlMessage(err))
		return
	}
	if err := dec.Decode(new(yaml.Node)); !errors.Is(err, io.EOF) {
		d.problems.AddAt(d.file, "", "holds more than one YAML document")
	}
	if len(doc.Content) == 1 && !isNull(doc.Content[0]) {
		d.section(doc.Content[0], root, "")
	}
}

func yamlMessage(err error) string {
	return strings.ReplaceAll(strings.TrimPrefix(err.Error(), "yaml: "), "\n", " ")
}

func isNull(n *yaml.Node) bool { return n.Kind == yaml.ScalarNode && n.Tag == "!!null" }

func (d *decoder) add(n *yaml.Node, path, format string, args ...any) {
	source := d.file
	if n.Line > 0 && strings.HasPrefix(source, "$") {
		source = source[1:] // an environment variable or a flag has no lines
	} else if n.Line > 0 {
		source = fmt.Sprintf("%s:%d:%d", d.file, n.Line, n.Column)
	}
	d.problems.AddAt(source, path, format, args...)
}

// enter counts n and resolves an alias; it reports whether n may be walked.
func (d *decoder) enter(n *yaml.Node, path string) (*yaml.Node, bool) {
	d.nodes++
	d.depth++
	if d.nodes > maxNodes || d.depth > maxDepth {
		if !d.full {
			d.full = true
			d.add(n, path, "the document is too large or nested too deeply")
		}
		return n, false
	}
	if n.Kind == yaml.AliasNode {
		return n.Alias, true
	}
	return n, true
}

func (d *decoder) leave() { d.depth-- }

func (d *decoder) section(n *yaml.Node, s section, path string) {
	n, ok := d.enter(n, path)
	defer d.leave()
	if !ok {
		return
	}
	if n.Kind != yaml.MappingNode {
		d.add(n, path, "must be a section of keys and values")
		return
	}
	fields := s.fields()
	d.pairs(n, path, func(key, value *yaml.Node) {
		for _, f := range fields {
			if f.name == key.Value {
				d.value(value, f.v, join(path, f.name))
				return
			}
			if isSecret(f.v.Type()) && f.name+"_file" == key.Value {
				setSecretFile(d.problems, fmt.Sprintf("%s:%d:%d", d.file, value.Line, value.Column),
					setting{join(path, f.name), f.v}, value.Value)
				return
			}
		}
		names := make([]string, len(fields))
		for i, f := range fields {
			names[i] = f.name
		}
		d.add(key, join(path, key.Value), "unknown key%s", suggest(key.Value, names))
	})
}

// pairs calls fn for every key of the mapping n, once.
func (d *decoder) pairs(n *yaml.Node, path string, fn func(key, value *yaml.Node)) {
	seen := make(map[string]int, len(n.Content)/2)
	for i := 0; i+1 < len(n.Content); i += 2 {
		key := n.Content[i]
		if key.Kind != yaml.ScalarNode {
			d.add(key, path, "a key must be a plain text")
			continue
		}
		if line, dup := seen[key.Value]; dup {
			d.add(key, join(path, key.Value), "is given twice, first on line %d", line)
			continue
		}
		seen[key.Value] = key.Line
		fn(key, n.Content[i+1])
	}
}

func (d *decoder) value(n *yaml.Node, v reflect.Value, path string) {
	n, ok := d.enter(n, path)
	defer d.leave()
	if !ok || isNull(n) {
		return // a key without a value keeps the default
	}
	t := v.Type()
	switch {
	case t.Kind() == reflect.Pointer:
		if v.IsNil() {
			v.Set(reflect.New(t.Elem()))
		}
		d.value(n, v.Elem(), path)
	case isSection(t):
		d.section(n, section{v}, path)
	case t.Kind() == reflect.Slice && !isText(t):
		d.list(n, v, path)
	case t.Kind() == reflect.Map && !isText(t):
		d.mapping(n, v, path)
	case n.Kind != yaml.ScalarNode:
		d.add(n, path, "must be %s", describe(t))
	default:
		if err := setScalar(v, n.Value); err != nil {
			d.add(n, path, "%v", err)
		}
	}
}

// list replaces the default rather than add to it.
func (d *decoder) list(n *yaml.Node, v reflect.Value, path string) {
	if n.Kind != yaml.SequenceNode {
		d.add(n, path, "must be a list")
		return
	}
	out := reflect.MakeSlice(v.Type(), len(n.Content), len(n.Content))
	for i, item := range n.Content {
		d.value(item, out.Index(i), fmt.Sprintf("%s[%d]", path, i))
	}
	v.Set(out)
}

// mapping replaces the default rather than add to it.
func (d *decoder) mapping(n *yaml.Node, v reflect.Value, path string) {
	if n.Kind != yaml.MappingNode {
		d.add(n, path, "must be a section of keys and values")
		return
	}
	if v.Type().Key().Kind() != reflect.String {
		d.add(n, path, "cannot be set: its keys are not texts")
		return
	}
	out := reflect.MakeMap(v.Type())
	d.pairs(n, path, func(key, value *yaml.Node) {
		item := reflect.New(v.Type().Elem()).Elem()
		d.value(value, item, join(path, key.Value))
		out.SetMapIndex(reflect.ValueOf(key.Value).Convert(v.Type().Key()), item)
	})
	v.Set(out)
}

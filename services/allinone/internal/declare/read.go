package declare

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
)

// The bounds on what is read.
const (
	maxFileBytes = 4 << 20
	maxFiles     = 10_000
	maxDocuments = 100_000
)

// Position is where a document begins.
type Position struct {
	File         string
	Line, Column int
}

func (p Position) String() string { return fmt.Sprintf("%s:%d:%d", p.File, p.Line, p.Column) }

// Document is one document of a file.
type Document struct {
	Position
	resource resource
	rank     int
}

// Read reads files, and the .yaml and .yml files in directories and below them in
// the order of their paths; `-` is stdin. Every document must be of a kind that is
// known and have no field that is not; the error names line and column.
func Read(places []string, stdin io.Reader) ([]Document, error) {
	var out []Document
	for _, place := range places {
		files, err := filesOf(place)
		if err != nil {
			return nil, err
		}
		for _, file := range files {
			docs, err := readFile(file, stdin)
			if err != nil {
				return nil, err
			}
			if out = append(out, docs...); len(out) > maxDocuments {
				return nil, fmt.Errorf("more than %d documents", maxDocuments)
			}
		}
	}
	if len(out) == 0 {
		return nil, errors.New("the files hold no document")
	}
	return out, twice(out)
}

// twice refuses two documents on one thing.
func twice(documents []Document) error {
	first := make(map[string]Position, len(documents))
	for _, d := range documents {
		id := d.resource.id()
		if at, ok := first[id]; ok {
			return fmt.Errorf("%s: %s is declared already at %s", d.Position, id, at)
		}
		first[id] = d.Position
	}
	return nil
}

func filesOf(place string) ([]string, error) {
	if place == "-" {
		return []string{place}, nil
	}
	info, err := os.Stat(place)
	if err != nil || !info.IsDir() {
		return []string{place}, err
	}
	var out []string
	err = filepath.WalkDir(place, func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case path != place && strings.HasPrefix(d.Name(), "."):
			if d.IsDir() {
				return fs.SkipDir
			}
		case !d.IsDir() && (filepath.Ext(path) == ".yaml" || filepath.Ext(path) == ".yml"):
			out = append(out, path)
		}
		if len(out) > maxFiles {
			return fmt.Errorf("more than %d files below %s", maxFiles, place)
		}
		return nil
	})
	return out, err
}

func readFile(name string, stdin io.Reader) ([]Document, error) {
	dir := "."
	in := stdin
	if name != "-" {
		f, err := os.Open(name)
		if err != nil {
			return nil, err
		}
		defer func() { _ = f.Close() }()
		in, dir = f, filepath.Dir(name)
	}
	data, err := io.ReadAll(io.LimitReader(in, maxFileBytes+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("%s: %w", name, err)
	case len(data) > maxFileBytes:
		return nil, fmt.Errorf("%s: more than %d bytes", name, maxFileBytes)
	}
	return parse(name, dir, data)
}

// parse reads the documents of one file. Paths in it begin at dir.
func parse(name, dir string, data []byte) ([]Document, error) {
	file, err := parser.ParseBytes(data, 0)
	if err != nil {
		return nil, located(name, err)
	}
	var out []Document
	for _, doc := range file.Docs {
		if doc.Body == nil || doc.Body.Type() == ast.NullType || doc.Body.Type() == ast.CommentType {
			continue // nothing but comments
		}
		d, err := document(name, dir, doc.Body)
		if err != nil {
			return nil, err
		}
		out = append(out, d)
	}
	return out, nil
}

func document(name, dir string, body ast.Node) (Document, error) {
	d := Document{Position: Position{File: name, Line: 1, Column: 1}}
	if m, ok := body.(*ast.MappingNode); ok && len(m.Values) > 0 {
		at := m.Values[0].Key.GetToken().Position
		d.Line, d.Column = at.Line, at.Column
	} else if t := body.GetToken(); t != nil && t.Position != nil {
		d.Line, d.Column = t.Position.Line, t.Position.Column
	}
	var head struct {
		Kind string `yaml:"kind"`
	}
	if err := yaml.NodeToValue(body, &head); err != nil {
		return d, located(name, err)
	}
	for rank, k := range kinds() {
		if k.name != head.Kind {
			continue
		}
		d.resource, d.rank = k.make(), rank
		if err := yaml.NodeToValue(body, d.resource, yaml.Strict()); err != nil {
			return d, located(name, err)
		}
		if v, ok := d.resource.(*version); ok {
			v.dir = dir
		}
		if problem := d.resource.check(); problem != "" {
			return d, fmt.Errorf("%s: %s: %s", d.Position, d.resource.id(), problem)
		}
		return d, nil
	}
	if head.Kind == "" {
		return d, fmt.Errorf("%s: the document has no kind: one of %s", d.Position, kindNames())
	}
	return d, fmt.Errorf("%s: the kind %q is none of %s", d.Position, head.Kind, kindNames())
}

// located puts file, line and column before what the YAML reader says.
func located(name string, err error) error {
	var at yaml.Error
	if !errors.As(err, &at) || at.GetToken() == nil || at.GetToken().Position == nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	p := at.GetToken().Position
	return fmt.Errorf("%s:%d:%d: %s", name, p.Line, p.Column, at.GetMessage())
}

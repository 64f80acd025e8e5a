package policy

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"
	"google.golang.org/protobuf/encoding/protojson"
)

// maxDepth bounds how deep YAML is nested.
const maxDepth = 100

// errNoPosition says that the JSON cannot be written with positions: parts of the YAML
// stand for others.
var errNoPosition = errors.New("aliases have no position")

// positions is YAML written as JSON, with where each part of it came from.
type positions struct {
	json bytes.Buffer
	list []position
}

// position is where in the YAML the JSON from offset on came from; both from 1.
type position struct{ offset, line, column int }

func (p *positions) write(n *yaml.Node, depth int) error {
	if depth > maxDepth || p.json.Len() > MaxPlatformBytes {
		return errNoPosition
	}
	p.list = append(p.list, position{p.json.Len(), n.Line, n.Column})
	switch n.Kind {
	case yaml.DocumentNode:
		return p.write(n.Content[0], depth+1)
	case yaml.MappingNode:
		return p.mapping(n, depth)
	case yaml.SequenceNode:
		p.json.WriteByte('[')
		for i, e := range n.Content {
			if i > 0 {
				p.json.WriteByte(',')
			}
			if err := p.write(e, depth+1); err != nil {
				return err
			}
		}
		p.json.WriteByte(']')
		return nil
	case yaml.ScalarNode:
		return p.scalar(n)
	case yaml.AliasNode:
	}
	return errNoPosition
}

func (p *positions) mapping(n *yaml.Node, depth int) error {
	p.json.WriteByte('{')
	for i := 0; i+1 < len(n.Content); i += 2 {
		key := n.Content[i]
		if key.Kind != yaml.ScalarNode || key.Tag == "!!merge" {
			return errNoPosition
		}
		if i > 0 {
			p.json.WriteByte(',')
		}
		p.list = append(p.list, position{p.json.Len(), key.Line, key.Column})
		text, err := json.Marshal(key.Value)
		if err != nil {
			return err
		}
		p.json.Write(text)
		p.json.WriteByte(':')
		if err := p.write(n.Content[i+1], depth+1); err != nil {
			return err
		}
	}
	p.json.WriteByte('}')
	return nil
}

func (p *positions) scalar(n *yaml.Node) error {
	var v any
	if err := n.Decode(&v); err != nil {
		return err
	}
	text, err := json.Marshal(v)
	p.json.Write(text)
	return err
}

// located says what is wrong with the JSON that is made of a document, and where in
// the document that is.
func located(n *yaml.Node, plain error) string {
	text := protoText(plain)
	var p positions
	if p.write(n, 0) != nil {
		return text
	}
	err := protojson.Unmarshal(p.json.Bytes(), new(Document))
	if err == nil {
		return text
	}
	before, what, ok := strings.Cut(protoText(err), "): ")
	_, at, there := strings.Cut(before, "(line 1:")
	column, err := strconv.Atoi(at) // in characters, from 1
	if !ok || !there || err != nil {
		return text
	}
	offset := 0
	for data := p.json.Bytes(); column > 1 && offset < len(data); column-- {
		_, size := utf8.DecodeRune(data[offset:])
		offset += size
	}
	i, found := slices.BinarySearchFunc(p.list, offset, func(p position, offset int) int { return p.offset - offset })
	if !found && i > 0 {
		i--
	}
	for i+1 < len(p.list) && p.list[i+1].offset == offset { // the innermost
		i++
	}
	if i >= len(p.list) {
		return text
	}
	return fmt.Sprintf("line %d, column %d: %s", p.list[i].line, p.list[i].column, what)
}

// protoText is what protojson says, which differs from one program to the next in its
// spaces.
func protoText(err error) string {
	return strings.TrimPrefix(strings.ReplaceAll(err.Error(), "\u00a0", " "), "proto: ")
}

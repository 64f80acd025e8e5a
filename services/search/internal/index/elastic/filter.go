package elastic

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"math"
	"strconv"
	"unicode/utf8"

	"github.com/poterne/poterne/pkg/apierr"
	"github.com/poterne/poterne/services/search/internal/filter"
)

// Metadata has no schema, and a field of Elasticsearch per name would have no
// bound, so all of it is in one field of words: a word says that a path is
// there, or which value it has. Words of one path and kind lie in the order of
// their values, so that the orders are ranges.

// What a word says of a path.
const (
	present = "p"
	scalar  = "s"
	listed  = "l"
)

// maxValueBytes is how much of a string is in its word as it is; the rest is in
// it as a digest: strings that agree so far are told apart, but their order is
// chance. A range's end with its path must stay below 1000 bytes, above which
// Lucene refuses it.
const maxValueBytes = 256

// about begins every word of a path. The length parts it from what follows,
// whatever characters it has.
func about(what, path string) string { return what + strconv.Itoa(len(path)) + ":" + path }

// kindMark begins a value in a word; the mark after it ends the range of its kind.
func kindMark(k filter.Kind) byte {
	switch k {
	case filter.Number:
		return 'b'
	case filter.Bool:
		return 'd'
	case filter.Time:
		return 'h'
	case filter.String:
		fallthrough
	default:
		return 'f'
	}
}

func word(what, path string, v filter.Value) string {
	return about(what, path) + string(kindMark(v.Kind)) + encoded(v)
}

func encoded(v filter.Value) string {
	switch v.Kind {
	case filter.Time:
		return v.Text
	case filter.Number, filter.Bool:
		return ordered(v.Number)
	case filter.String:
	}
	if len(v.Text) <= maxValueBytes {
		return v.Text
	}
	cut := maxValueBytes
	for !utf8.RuneStart(v.Text[cut]) {
		cut--
	}
	sum := sha256.Sum256([]byte(v.Text))
	return v.Text[:cut] + "\x00" + hex.EncodeToString(sum[:])
}

// ordered writes a number so that the order of bytes is the order of numbers.
func ordered(n float64) string {
	bits := math.Float64bits(n + 0)
	if bits>>63 == 1 {
		bits = ^bits
	} else {
		bits |= 1 << 63
	}
	return hex.EncodeToString(binary.BigEndian.AppendUint64(nil, bits))
}

// words returns all that filters can ask of a document.
func words(fields []filter.Field) []string {
	var out []string
	for _, f := range fields {
		out = append(out, about(present, f.Path))
		what := scalar
		if f.Shape == filter.List {
			what = listed
		}
		for _, v := range f.Values {
			out = append(out, word(what, f.Path, v))
			if t, ok := v.AsTime(); ok {
				out = append(out, word(what, f.Path, t))
			}
		}
	}
	return out
}

// maxNesting is how deep a filter may be: Elasticsearch refuses queries of more
// than 30 levels.
const maxNesting = 24

// translate returns the query for a filter.
func translate(n filter.Node, depth int) (object, error) {
	if depth > maxNesting {
		return nil, apierr.Invalid("filter", "the filter is nested deeper than %d levels", maxNesting)
	}
	switch n := n.(type) {
	case *filter.And:
		all, err := translateAll(flat(n.Nodes, func(n filter.Node) []filter.Node {
			if and, ok := n.(*filter.And); ok {
				return and.Nodes
			}
			return nil
		}), depth)
		return object{"bool": object{"filter": all}}, err
	case *filter.Or:
		options, err := translateAll(flat(n.Nodes, func(n filter.Node) []filter.Node {
			if or, ok := n.(*filter.Or); ok {
				return or.Nodes
			}
			return nil
		}), depth)
		return anyOf(options...), err
	case *filter.Not:
		inner, err := translate(n.Node, depth+1)
		return object{"bool": object{"must_not": []object{inner}}}, err
	case *filter.Compare:
		return comparison(n), nil
	case *filter.Distance:
		return within(n), nil
	default:
		return object{"match_none": object{}}, nil
	}
}

func translateAll(nodes []filter.Node, depth int) ([]object, error) {
	out := make([]object, len(nodes))
	for i, n := range nodes {
		var err error
		if out[i], err = translate(n, depth+1); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// flat takes the nodes of the same kind within into one list.
func flat(nodes []filter.Node, same func(filter.Node) []filter.Node) []filter.Node {
	var out []filter.Node
	for _, n := range nodes {
		if inner := same(n); inner != nil {
			out = append(out, flat(inner, same)...)
			continue
		}
		out = append(out, n)
	}
	return out
}

func comparison(n *filter.Compare) object {
	there := is(about(present, n.Path))
	equal := is(word(scalar, n.Path, n.Value))
	switch n.Op {
	case filter.Has:
		if n.Any {
			return there
		}
		options := []object{equal, is(word(listed, n.Path, n.Value))}
		if n.Value.Kind == filter.String {
			options = append(options, is(about(present, n.Path+"."+n.Value.Text)))
		}
		return anyOf(options...)
	case filter.Equal:
		return equal
	case filter.NotEqual:
		return object{"bool": object{"filter": []object{there}, "must_not": []object{equal}}}
	case filter.Less, filter.LessEqual, filter.Greater, filter.GreaterEqual:
		return between(n)
	default:
		return object{"match_none": object{}}
	}
}

// between asks for the words of the value's kind on one side of it.
func between(n *filter.Compare) object {
	mark := kindMark(n.Value.Kind)
	first, behind := about(scalar, n.Path)+string(mark), about(scalar, n.Path)+string(mark+1)
	value := word(scalar, n.Path, n.Value)
	bounds := object{}
	switch n.Op {
	case filter.Less:
		bounds["gte"], bounds["lt"] = first, value
	case filter.LessEqual:
		bounds["gte"], bounds["lte"] = first, value
	case filter.Greater:
		bounds["gt"], bounds["lt"] = value, behind
	default:
		bounds["gte"], bounds["lt"] = value, behind
	}
	return object{"range": object{fieldMetadata: bounds}}
}

func is(word string) object { return object{"term": object{fieldMetadata: word}} }

func anyOf(options ...object) object {
	return object{"bool": object{"should": options, "minimum_should_match": 1}}
}

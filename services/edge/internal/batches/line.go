package batches

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"

	"github.com/go-json-experiment/json/jsontext"
)

// MaxCustomID bounds a request's custom_id, in bytes.
const MaxCustomID = 256

// Line is one request of a file.
type Line struct {
	// Number is the line's, from 1.
	Number   int64
	CustomID string
	// Body is the request's, a JSON object.
	Body []byte
}

// lines reads a file of requests, one JSON object a line (https://jsonlines.org).
// Empty lines are passed over.
type lines struct {
	in     *bufio.Scanner
	number int64
}

// errLine is a line that is longer than may be.
var errLine = errors.New("batches: the line is too long")

func newLines(in io.Reader, most int) *lines {
	s := bufio.NewScanner(in)
	s.Buffer(make([]byte, 0, min(64<<10, most)), most)
	return &lines{in: s}
}

// next returns the next line, and its number, good until it is called again; io.EOF
// at the end.
func (l *lines) next() ([]byte, int64, error) {
	for l.in.Scan() {
		l.number++
		text := l.in.Bytes()
		if l.number == 1 {
			text = bytes.TrimPrefix(text, []byte("\xef\xbb\xbf"))
		}
		if len(bytes.TrimSpace(text)) > 0 {
			return text, l.number, nil
		}
	}
	switch err := l.in.Err(); {
	case errors.Is(err, bufio.ErrTooLong):
		return nil, l.number + 1, errLine
	case err != nil:
		return nil, l.number, err
	default:
		return nil, l.number, io.EOF
	}
}

// decode reads a line that is for endpoint. What it returns has memory of its own.
func decode(text []byte, number int64, endpoint string) (Line, *Problem) {
	wrong := func(code, param, format string, args ...any) (Line, *Problem) {
		return Line{}, &Problem{Code: code, Line: number, Message: fmt.Sprintf(format, args...), Param: param}
	}
	members, err := object(text)
	if err != nil {
		return wrong("invalid_json_line", "", "This line is not a JSON object in UTF-8, with each member once.")
	}
	id, ok := word(members["custom_id"])
	if !ok || id == "" || len(id) > MaxCustomID {
		return wrong("invalid_custom_id", "custom_id", "Each line must have a custom_id, a text of 1 to %d bytes.", MaxCustomID)
	}
	if method, _ := word(members["method"]); method != "POST" {
		return wrong("invalid_method", "method", "The method must be POST.")
	}
	if url, _ := word(members["url"]); url != endpoint {
		return wrong("mismatched_endpoint", "url", "The url must be the batch's endpoint, %s.", endpoint)
	}
	body := members["body"]
	asked, err := object(body)
	if err != nil {
		return wrong("invalid_body", "body", "The body must be a JSON object.")
	}
	if stream := asked["stream"]; len(stream) > 0 && stream.Kind() != 'f' && stream.Kind() != 'n' {
		return wrong("invalid_body", "body.stream", "Requests of a batch are not answered as streams.")
	}
	return Line{Number: number, CustomID: id, Body: bytes.Clone(body)}, nil
}

var errObject = errors.New("batches: it is not a JSON object")

// object returns the members of a JSON object (RFC 7493), with nothing behind it. What
// they are is memory of text.
func object(text []byte) (map[string]jsontext.Value, error) {
	d := jsontext.NewDecoder(bytes.NewReader(text))
	if t, err := d.ReadToken(); err != nil || t.Kind() != '{' {
		return nil, errObject
	}
	out := make(map[string]jsontext.Value)
	for d.PeekKind() != '}' {
		t, err := d.ReadToken()
		if err != nil {
			return nil, errObject
		}
		name := t.String()
		v, err := d.ReadValue()
		if err != nil {
			return nil, errObject
		}
		out[name] = bytes.Clone(v)
	}
	if _, err := d.ReadToken(); err != nil {
		return nil, errObject
	}
	if _, err := d.ReadToken(); !errors.Is(err, io.EOF) {
		return nil, errObject
	}
	return out, nil
}

// word reads a JSON text.
func word(raw jsontext.Value) (string, bool) {
	if raw.Kind() != '"' {
		return "", false
	}
	out, err := jsontext.AppendUnquote(nil, raw)
	return string(out), err == nil
}

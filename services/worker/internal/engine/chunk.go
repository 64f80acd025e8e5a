package engine

import (
	"bytes"
	"encoding/json"
	"slices"
	"unicode/utf8"

	"github.com/poterne/poterne/pkg/jsonwalk"
)

// chunk is one of an engine's chunks and where in it the members are that the
// worker looks at. Chunks pass by in quantity: they are walked over once, and
// nothing of them is decoded that is not needed.
type chunk struct {
	data                                          []byte
	choices, usage, timings, failure, id, created jsonwalk.Span
}

// scan looks over a chunk; ok is false when it is not a JSON object.
func scan(data []byte) (c chunk, ok bool) {
	c.data = data
	w := jsonwalk.NewWalk(data)
	for {
		name, at, more := w.Next()
		if !more {
			return c, w.OK()
		}
		switch string(name) {
		case "choices":
			c.choices = at
		case "usage":
			c.usage = at
		case "timings":
			c.timings = at
		case "error":
			c.failure = at
		case "id":
			c.id = at
		case "created":
			c.created = at
		}
	}
}

// has reports whether a member is there and is not null.
func (c *chunk) has(at jsonwalk.Span) bool {
	return at.Found() && string(at.Of(c.data)) != "null"
}

// delta is what a chunk adds to one choice of the answer.
type delta struct {
	index int
	// text is added to the answer's text.
	text string
	// role says that the chunk names the message's role.
	role bool
	// other says that it holds something else than text: a tool call, reasoning.
	other bool
	// stopped says that it gives the reason to stop.
	stopped bool
}

// empty reports whether the chunk adds nothing that the engine generated.
func (d delta) empty() bool { return d.text == "" && !d.other }

// each calls fn for what the chunk adds to each choice, and reports how many
// choices it has.
func (c *chunk) each(fn func(delta)) (n int) {
	rest := bytes.TrimLeft(c.choices.Of(c.data), " \t\r\n[,")
	for len(rest) > 0 && rest[0] == '{' {
		d, end, ok := readChoice(rest)
		if !ok {
			return n
		}
		n++
		fn(d)
		rest = bytes.TrimLeft(rest[end:], " \t\r\n,")
	}
	return n
}

// bare reports whether the chunk is about no choice.
func (c *chunk) bare() bool {
	if !c.choices.Found() {
		return true
	}
	inner := bytes.Trim(c.choices.Of(c.data), "[] \t\r\n")
	return len(inner) == 0 || string(inner) == "null"
}

func readChoice(text []byte) (d delta, end int, ok bool) {
	w := jsonwalk.NewWalk(text)
	for {
		name, at, more := w.Next()
		if !more {
			return d, w.End(), w.OK()
		}
		value := at.Of(text)
		switch string(name) {
		case "index":
			d.index = int(readCount(value))
		case "text":
			d.content(value)
		case "delta":
			d.read(value)
		case "finish_reason":
			d.stopped = string(value) != "null"
		case "logprobs":
			d.other = d.other || !blank(value)
		}
	}
}

func (d *delta) read(message []byte) {
	w := jsonwalk.NewWalk(message)
	for {
		name, at, more := w.Next()
		if !more {
			return
		}
		value := at.Of(message)
		switch string(name) {
		case "content":
			d.content(value)
		case "role":
			d.role = true
		default:
			d.other = d.other || !blank(value)
		}
	}
}

// content takes the text; what is not text, or not valid, is something else.
func (d *delta) content(value []byte) {
	if blank(value) {
		return
	}
	var ok bool
	if d.text, ok = readString(value); !ok {
		d.other = true
	}
}

// blank reports whether a value holds nothing.
func blank(value []byte) bool {
	switch string(value) {
	case "null", `""`, "[]", "{}":
		return true
	}
	return false
}

// readString decodes a JSON string that is valid UTF-8.
func readString(value []byte) (string, bool) {
	if len(value) < 2 || value[0] != '"' || !utf8.Valid(value) {
		return "", false
	}
	if bytes.IndexByte(value, '\\') < 0 {
		return string(value[1 : len(value)-1]), true
	}
	var s string
	err := json.Unmarshal(value, &s)
	return s, err == nil
}

// without returns a copy of the chunk without the given members, every other
// byte as it came.
func (c *chunk) without(room *room, members ...jsonwalk.Span) []byte {
	if len(members) > 1 {
		slices.SortFunc(members, func(a, b jsonwalk.Span) int { return a.Start - b.Start })
	}
	return room.keep(jsonwalk.AppendWithout(room.of(len(c.data)), c.data, members...))
}

// room is memory for the chunks of a stream that leave together. What it gives is the
// chunk's for as long as that is looked at: no byte is given twice.
type room struct {
	left    []byte // its capacity is what is free
	arrived int    // bytes of the stream that are there already
}

// maxRoom bounds the memory that is taken at once, for what has arrived may be one chunk
// that is kept and many that are not.
const maxRoom = 4 << 10

// of returns room for size bytes, with none in it.
func (r *room) of(size int) []byte {
	if cap(r.left) < size {
		r.left = make([]byte, 0, max(size, min(size+r.arrived, maxRoom)))
	}
	return r.left[:0:size]
}

// keep notes that what of returned last has become data.
func (r *room) keep(data []byte) []byte {
	if n := len(data); n <= cap(r.left) {
		r.left = r.left[n:n:cap(r.left)]
	}
	return slices.Clip(data)
}

package explain

import (
	"encoding/binary"
	"errors"
	"slices"
	"strings"
	"time"
	"unicode/utf8"
)

// Encoded is decisions as a record keeps them; empty: none. There is one way only to
// write the same decisions, which a record's hash is over.
//
// The first byte is the form's number. Each item begins with its kind. A decision has
// the step's number, when it began and how long it took in microseconds, the outcome,
// the detail, and the number of attributes, each a name and a value. The count of
// decisions that are omitted is the last item, where there is one. Numbers are varints
// without needless bytes, and texts are UTF-8 with their lengths before them.
type Encoded []byte

const (
	form = 1

	itemDecision = 1
	itemOmitted  = 2

	maxVarint = binary.MaxVarintLen64
)

// steps gives each step its number, from 1: it must never change, and new ones come
// at the end.
func steps() []Step {
	return []Step{
		Identity, Policy, Limits, Detectors, Cache, Memory, Retrieval, Route, Budget, Attempt, Serving, Usage, Answer,
	}
}

func numberOf(s Step) byte {
	switch s {
	case Identity:
		return 1
	case Policy:
		return 2
	case Limits:
		return 3
	case Detectors:
		return 4
	case Cache:
		return 5
	case Memory:
		return 6
	case Retrieval:
		return 7
	case Route:
		return 8
	case Budget:
		return 9
	case Attempt:
		return 10
	case Serving:
		return 11
	case Usage:
		return 12
	case Answer:
		return 13
	default:
		return 0 // followed by its name
	}
}

func appendDecision(b []byte, step Step, outcome, detail string, attributes []Attribute, start, took time.Duration) []byte {
	b = append(b, itemDecision)
	n := numberOf(step)
	if b = append(b, n); n == 0 {
		b = appendText(b, string(step))
	}
	b = binary.AppendUvarint(b, uint64(start.Microseconds()))
	b = binary.AppendUvarint(b, uint64(took.Microseconds()))
	b = appendText(appendText(b, outcome), detail)
	attributes = attributes[:min(len(attributes), MaxAttributes)]
	b = binary.AppendUvarint(b, uint64(len(attributes)))
	for i := range attributes {
		b = appendText(appendText(b, attributes[i].Name), attributes[i].Value)
	}
	return b
}

func beginOmitted(b []byte, n int) []byte {
	if len(b) == 0 {
		b = append(b, form)
	}
	return binary.AppendUvarint(append(b, itemOmitted), uint64(n))
}

// cut ends a text that was longer.
const cut = "\u2026"

// appendText writes a text, cut to its bound, which can be seen, and mended where it is no
// UTF-8.
func appendText(b []byte, s string) []byte {
	if len(s) > MaxText || !utf8.ValidString(s) {
		s = clean(s)
	}
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

func clean(s string) string {
	s = strings.ToValidUTF8(s[:min(len(s), MaxText+utf8.UTFMax)], "?")
	if len(s) <= MaxText {
		return s
	}
	end := MaxText - len(cut)
	for !utf8.RuneStart(s[end]) {
		end--
	}
	return s[:end] + cut
}

// Noted is a decision as it was kept.
type Noted struct {
	Step            Step
	Outcome, Detail string
	Attributes      []Attribute
	// Start is when it began, from the request's arrival on.
	Start, Duration time.Duration
}

// Attribute returns the value of the attribute of that name; empty where it has none.
func (n *Noted) Attribute(name string) string {
	for _, a := range n.Attributes {
		if a.Name == name {
			return a.Value
		}
	}
	return ""
}

var errForm = errors.New("explain: these are no decisions")

// Decode returns the decisions, and how many more were omitted.
func (e Encoded) Decode() (list []Noted, omitted int, _ error) {
	if len(e) == 0 {
		return nil, 0, nil
	}
	r := reader{rest: e, ok: true}
	if r.byte() != form {
		return nil, 0, errForm
	}
	for r.ok && len(r.rest) > 0 {
		switch r.byte() {
		case itemDecision:
			if len(list) > MaxDecisions { // the last one comes on top
				return nil, 0, errForm
			}
			list = append(list, r.decision())
		case itemOmitted:
			if omitted = int(r.number(1 << 31)); omitted == 0 || len(r.rest) > 0 {
				return nil, 0, errForm
			}
		default:
			return nil, 0, errForm
		}
	}
	if !r.ok || len(list) == 0 && omitted == 0 {
		return nil, 0, errForm
	}
	return list, omitted, nil
}

type reader struct {
	rest []byte
	ok   bool
}

func (r *reader) byte() byte {
	if len(r.rest) == 0 {
		r.ok = false
		return 0
	}
	b := r.rest[0]
	r.rest = r.rest[1:]
	return b
}

// number reads a number below bound, in the shortest form.
func (r *reader) number(bound uint64) uint64 {
	v, n := binary.Uvarint(r.rest)
	if n <= 0 || v >= bound || n > 1 && r.rest[n-1] == 0 {
		r.ok, r.rest = false, nil
		return 0
	}
	r.rest = r.rest[n:]
	return v
}

func (r *reader) text() string {
	n := int(r.number(MaxText + 1))
	if n > len(r.rest) || !utf8.Valid(r.rest[:n]) {
		r.ok, r.rest = false, nil
		return ""
	}
	s := string(r.rest[:n])
	r.rest = r.rest[n:]
	return s
}

// maxMicros bounds times, to some 290 years: what a time.Duration holds.
const maxMicros = uint64(1<<63-1) / uint64(time.Microsecond)

func (r *reader) decision() (d Noted) {
	known := steps()
	switch n := r.byte(); {
	case n == 0:
		d.Step = Step(r.text())
		r.ok = r.ok && numberOf(d.Step) == 0
	case int(n) <= len(known):
		d.Step = known[n-1]
	default:
		r.ok = false
	}
	d.Start = time.Duration(r.number(maxMicros+1)) * time.Microsecond
	d.Duration = time.Duration(r.number(maxMicros+1)) * time.Microsecond
	d.Outcome, d.Detail = r.text(), r.text()
	if n := int(r.number(MaxAttributes + 1)); r.ok && n > 0 {
		d.Attributes = make([]Attribute, n)
		for i := range d.Attributes {
			d.Attributes[i] = Attribute{Name: r.text(), Value: r.text()}
		}
	}
	return d
}

// ForTenants returns the decisions without what only the platform's administrators see;
// nothing of what are no decisions.
func (e Encoded) ForTenants() Encoded {
	list, omitted, err := e.Decode()
	if err != nil {
		return nil
	}
	for i := range list {
		list[i].Attributes = slices.DeleteFunc(list[i].Attributes, func(a Attribute) bool { return Withheld(a.Name) })
	}
	return Encode(list, omitted)
}

// Encode writes decisions; Decode gives the same back.
func Encode(list []Noted, omitted int) Encoded {
	if len(list) == 0 && omitted == 0 {
		return nil
	}
	b := []byte{form}
	for _, d := range list {
		b = appendDecision(b, d.Step, d.Outcome, d.Detail, d.Attributes, d.Start, d.Duration)
	}
	if omitted > 0 {
		b = beginOmitted(b, omitted)
	}
	return b
}

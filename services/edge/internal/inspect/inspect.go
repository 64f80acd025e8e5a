// Package inspect has the detectors look at the texts of one request: it knows
// whose request it is, tells the audit trail and the metrics what was found, and
// makes the refusal. What is found is package detect's business. Start reading at
// Inspector.
package inspect

import (
	"context"
	"slices"
	"strings"

	"github.com/poterne/poterne/pkg/apierr"
	"github.com/poterne/poterne/pkg/identity"
	"github.com/poterne/poterne/services/edge/internal/audit"
	"github.com/poterne/poterne/services/edge/internal/detect"
	"github.com/poterne/poterne/services/edge/internal/explain"
	"github.com/poterne/poterne/services/edge/internal/obligation"
)

// Counter counts what is found.
type Counter interface {
	Detected(ctx context.Context, kind, action, side string)
}

// Inspector makes inspections. It is safe for concurrent use.
type Inspector struct {
	rules  *detect.Rules
	counts Counter
}

// New returns an inspector by rules.
func New(rules *detect.Rules, counts Counter) *Inspector {
	return &Inspector{rules: rules, counts: counts}
}

// Of returns the inspection of one side of the request of ctx, to the named
// model; nil, whose methods let everything through, when nothing is looked for.
func (i *Inspector) Of(ctx context.Context, side detect.Side, model string) *Inspection {
	caller, _ := identity.FromContext(ctx)
	g := i.rules.For(side, caller.Tenant, model, obligation.From(ctx).Redact)
	if g == nil {
		return nil
	}
	return &Inspection{ctx: ctx, guard: g, side: side, counts: i.counts}
}

// Inspection looks at the texts of one side of one request. It must not be used
// by two goroutines at once.
type Inspection struct {
	ctx     context.Context //nolint:containedctx // of the request that it is part of
	guard   *detect.Guard
	side    detect.Side
	counts  Counter
	blocked detect.Kind
	kinds   []string // redacted
}

// Text returns what may go on of a text.
func (in *Inspection) Text(text string) string {
	if in == nil || text == "" {
		return text
	}
	out, found := in.guard.Text(text)
	in.note(found)
	return out
}

// Texts does Text for a text that may be missing.
func (in *Inspection) Texts(text *string) *string {
	if in == nil || text == nil {
		return text
	}
	out := in.Text(*text)
	return &out
}

func (in *Inspection) note(found []detect.Found) {
	for _, f := range found {
		in.counts.Detected(in.ctx, string(f.Kind), string(f.Action), string(in.side))
		if text := string(f.Kind) + " " + string(f.Action) + " " + string(in.side); audit.From(in.ctx).AddFinding(text) {
			in.explain(string(f.Action), string(f.Kind))
		}
		if f.Action == detect.Block && in.blocked == "" {
			in.blocked = f.Kind
		}
		if name := string(f.Kind); f.Action == detect.Redact && !slices.Contains(in.kinds, name) {
			in.kinds = append(in.kinds, name)
		}
	}
}

// explain notes what was found and what was done about it; not where, nor what it was.
func (in *Inspection) explain(outcome, kind string) {
	at := [2]explain.Attribute{{Name: "side", Value: string(in.side)}, {Name: "kind", Value: kind}}
	d := explain.Decision{Step: explain.Detectors, Outcome: outcome, Attributes: at[:]}
	if kind == "" {
		d.Attributes = at[:1]
	}
	audit.From(in.ctx).Decide(d)
}

// Join adds what another inspection of the same request took out.
func (in *Inspection) Join(other *Inspection) {
	for _, name := range other.kinds {
		if !slices.Contains(in.kinds, name) {
			in.kinds = append(in.kinds, name)
		}
	}
}

// Changed reports whether something was redacted or blocked.
func (in *Inspection) Changed() bool { return in != nil && (len(in.kinds) > 0 || in.blocked != "") }

// Blocked reports whether something was found that blocks.
func (in *Inspection) Blocked() bool { return in != nil && in.blocked != "" }

// Redacted lists the kinds that were redacted, for the caller to know.
func (in *Inspection) Redacted() string {
	if in == nil {
		return ""
	}
	return strings.Join(in.kinds, ", ")
}

// Err is the refusal of a request in which something blocks; nil otherwise.
func (in *Inspection) Err() error {
	if !in.Blocked() {
		if in != nil && !in.Changed() {
			in.explain("passed", "")
		}
		return nil
	}
	return apierr.New(apierr.ContentBlocked, "the request has something of the kind %s in it, which must not be sent", in.blocked).
		WithMetadata("kind", string(in.blocked))
}

// Opaque is the refusal of a request whose text is hidden from the detectors, as
// token ids are; nil where nothing is looked for.
func (in *Inspection) Opaque(field string) error {
	if in == nil {
		return nil
	}
	return apierr.Invalid(field, "%s: must be text: what is in tokens cannot be looked at, and is not let through unseen", field)
}

// Stream returns what looks at a text that comes piece by piece.
func (in *Inspection) Stream() *Stream { return &Stream{in: in, stream: in.guard.Stream()} }

// Stream is one text of an inspection that comes piece by piece.
type Stream struct {
	in     *Inspection
	stream *detect.Stream
}

// Write takes a piece, and returns what can go on by now.
func (s *Stream) Write(piece string) string {
	out, found := s.stream.Write(piece)
	s.in.note(found)
	return out
}

// Close returns what was held back.
func (s *Stream) Close() string {
	out, found := s.stream.Close()
	s.in.note(found)
	return out
}

// Blocked reports whether the text ends here.
func (s *Stream) Blocked() bool { return s.stream.Blocked() }

// Alike reports whether the same is looked for in requests to two models, and in their
// answers.
func (i *Inspector) Alike(ctx context.Context, a, b string) bool {
	caller, _ := identity.FromContext(ctx)
	redact := obligation.From(ctx).Redact
	for _, side := range []detect.Side{detect.Request, detect.Passage, detect.Answer} {
		if i.rules.For(side, caller.Tenant, a, redact) != i.rules.For(side, caller.Tenant, b, redact) {
			return false
		}
	}
	return true
}

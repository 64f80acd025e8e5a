package inspect_test

import (
	"context"
	"slices"
	"testing"

	"github.com/poterne/poterne/pkg/apierr"
	"github.com/poterne/poterne/services/edge/internal/audit"
	"github.com/poterne/poterne/services/edge/internal/detect"
	"github.com/poterne/poterne/services/edge/internal/inspect"
	"github.com/poterne/poterne/services/edge/internal/obligation"
)

// counts remembers what was counted.
type counts struct{ got []string }

func (c *counts) Detected(_ context.Context, kind, action, side string) {
	c.got = append(c.got, kind+" "+action+" "+side)
}

func TestAPolicyAsksForRedaction(t *testing.T) {
	c := new(counts)
	i := inspect.New(detect.NewRules(detect.Config{}, detect.All()), c)
	ctx := audit.NewContext(obligation.NewContext(t.Context()), new(audit.Entry))
	if in := i.Of(ctx, detect.Request, "m"); in != nil || in.Text("ada@example.com") != "ada@example.com" || in.Err() != nil || in.Opaque("input") != nil {
		t.Error("something is looked for that nobody asked for")
	}
	obligation.Note(ctx, obligation.Set{Redact: true})
	in := i.Of(ctx, detect.Request, "m")
	if got := in.Text("write to ada@example.com"); got != "write to [REDACTED email]" || in.Err() != nil || in.Redacted() != "pii/email" {
		t.Errorf("%q, %v", got, in.Err())
	}
	want := []string{"pii/email redact request"}
	if !slices.Equal(c.got, want) || !slices.Equal(audit.From(ctx).Record().Findings, want) {
		t.Errorf("%v, %v", c.got, audit.From(ctx).Record().Findings)
	}
	if apierr.ReasonOf(in.Opaque("input")) != apierr.InvalidArgument {
		t.Error("tokens are let through unseen")
	}
}

func TestJSON(t *testing.T) {
	i := inspect.New(detect.NewRules(detect.Config{Rules: []detect.Rule{{Kinds: []string{"pii/email", "pii/card"}, Action: detect.Redact}}}, detect.All()), new(counts))
	in := i.Of(t.Context(), detect.Request, "m")
	for raw, want := range map[string]string{
		`{"b":"a\u0040example.com","a":[1.50,null,"<x>"]}`: `{"a":[1.50,null,"<x>"],"b":"[REDACTED email]"}`,
		`{"b": "nothing" , "n":1e400}`:                     `{"b": "nothing" , "n":1e400}`, // as it was written
		`{"n":[4111111111111111]}`:                         `{"n":["[REDACTED card]"]}`,
		`{"ada@example.com":1}`:                            `{"[REDACTED email]":1}`,
		`"ada@example.com"`:                                `"[REDACTED email]"`,
		`{"cut":"ada@example.com`:                          `{"cut":"[REDACTED email]`,
		`{"a":1} {"b":"ada@example.com"}`:                  `{"a":1} {"b":"[REDACTED email]"}`,
		`{"a":"a\u0040example.com","a":1}`:                 `{"a":1}`, // who reads it may take the first
		`{"a":"data:,;base64, ada@example.com"}`:           `{"a":"data:,;base64, [REDACTED email]"}`,
		`"data:image/png;base64,YWRhQGV4YW1wbGU="`:         `"data:image/png;base64,YWRhQGV4YW1wbGU="`,
	} {
		if got := in.JSON(raw); got != want {
			t.Errorf("%s became %s", raw, got)
		}
	}
}
